"""Tokens for brokers that ask for OAUTHBEARER, from the function that the setting `kafka_token` names.

The function takes the property `sasl.oauthbearer.config`, a string (empty if it is not set). It returns what `oauth_cb`
of confluent-kafka does: (token, expiry in seconds since 1970), and if needed the principal's name, and a dict of
extensions. Each client asks for a token on a thread of its own, when half of the present one's life is over. One source
serves all clients of a process, so that the function is asked once for all of them.

A function that raises, hangs or returns something else is logged and asked again. Meanwhile the present token serves
as long as it lives. No token reaches a log line or an error, nor does an exception's own text: that may quote one.
"""

import importlib
import re
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

from processor.errors import OrderFactsError, RetryError, UnreachableError, UsageError
from processor.logs import get_logger
from processor.settings import Settings

_CALL_S: Final = 20.0  # how long the function may take
_PACE_S: Final = 1.0
_REPEAT_S: Final = 10.0
_LATE_S: Final = 10.0  # for how long after an expired token's replacement a broker's refusal of it may still arrive
_SKEW_S: Final = 2.0  # between the clocks of this machine and a broker's
_YOUNG: Final = 0.25  # of its life: until then a token is given to other clients too
# The client asks again after 80% of what it is told is left. It needs the next token well before 90%: then it logs in
# again, and a broker refuses a second time within a second, as a token with little life left would need.
_TOLD: Final = 0.6
_ASK_AGAIN_S: Final = 12.5  # told while the function fails
_LATEST_S: Final = 1e11  # the year 5138; milliseconds since 1970 are beyond it
_FRAMES: Final = 3  # of a traceback
_VISIBLE: Final = re.compile(r"[!-~]+")
_EXTENSION: Final = re.compile(r"[\t\n\r -~]*")
_SHAPE: Final = "(token, expiry in seconds since 1970), and if needed the principal's name and a dict of extensions"

TokenFunction = Callable[[str], object]
log = get_logger()


class Token(NamedTuple):
    """A token as the client takes it; `expires_s` is in seconds since 1970."""

    value: str
    expires_s: float
    principal: str = ""
    extensions: dict[str, str] = {}  # noqa: RUF012 - never changed


class TokenSource:
    """Gives all clients of a process their tokens, for any number of threads at once."""

    def __init__(self, name: str, function: TokenFunction, config: str) -> None:
        self._name, self._function, self._config = name, function, config
        self._lock = threading.Lock()
        self._running: SimpleQueue[tuple[object, BaseException | None]] | None = None  # a call that has not returned
        self._attempts = 0
        self._failure: OrderFactsError | None = None  # of the last attempt
        self._failing_s: float | None = None  # since when no attempt has succeeded
        self._logged_s = float("-inf")
        self._token: Token | None = None
        self._got_s = 0.0  # when the function gave it, in seconds since 1970
        self._late_s = float("-inf")  # when it last gave one only after the one before had expired

    def __call__(self, _config: str | None = None) -> Token:
        """Return a token: the present one if it is young, else a new one, else the present one while it lives.

        Its expiry is earlier than it is, so that the client asks for the next one early.
        Raises RetryError if there is none now, and UsageError if the function returns what no client takes.
        """
        seen = self._attempts
        if self._token is None or time.time() > self._got_s + _YOUNG * (self._token.expires_s - self._got_s):
            with self._lock:
                if self._attempts == seen:  # else another thread asked meanwhile: its outcome is this one's too
                    self._attempt()
        if (token := self._valid()) is None:
            failure = self._failure or RetryError(f"setting kafka_token: {self._name} gave a token that has expired")
            raise type(failure)(str(failure))
        told_s = _TOLD * (token.expires_s - time.time())
        return token._replace(expires_s=time.time() + (told_s if self._failure is None else min(told_s, _ASK_AGAIN_S)))

    def require(self, patience_s: float) -> None:
        """Wait until there is a first token, for at most `patience_s`; later look once.

        Raises UsageError or UnreachableError at the start, RetryError later.
        """
        is_first, deadline = self._token is None, time.monotonic() + patience_s
        while True:
            try:
                self()
            except OrderFactsError as error:
                if not is_first:
                    raise RetryError(str(error)) from error
                if isinstance(error, UsageError):
                    raise
                if time.monotonic() >= deadline:
                    raise UnreachableError(
                        f"{error}; no token within {patience_s:g} s: see that the function works where this runs"
                    ) from error
            else:
                return
            time.sleep(_PACE_S)

    def trouble(self) -> str | None:
        """Return why a broker may just now have refused this process's token: it expired before there was another."""
        is_late = time.monotonic() - self._late_s <= _LATE_S
        # While the function fails: a broker whose clock is ahead refuses a token that here is about to expire.
        is_ending = self._failure is not None and self._token is not None and self._left_s(self._token) < _SKEW_S
        if self._token is None or (self._valid() is not None and not is_late and not is_ending):
            return None
        return str(self._failure or f"setting kafka_token: {self._name} gave a token late")

    def _left_s(self, token: Token) -> float:
        return token.expires_s - time.time()

    def _valid(self) -> Token | None:
        return self._token if self._token is not None and self._token.expires_s > time.time() else None

    def _attempt(self) -> None:
        """Ask the function, and note the token or why there is none."""
        now_s = time.monotonic()
        try:
            token = token_of(self._asked())
        except OrderFactsError as error:
            self._failure = type(error)(f"setting kafka_token: {self._name} {error}")
            self._failing_s = self._failing_s or now_s
            if now_s - self._logged_s >= _REPEAT_S:
                self._logged_s = now_s
                left_s = max(0.0, self._token.expires_s - time.time()) if self._token is not None else 0.0
                log.warning("kafka.token_failed", error=str(self._failure), left_s=round(left_s))
        else:
            if self._token is not None and self._valid() is None:
                self._late_s = time.monotonic()
            self._token, self._got_s, self._failure = token, time.time(), None
            if self._failing_s is not None:
                log.info("kafka.token_back", failed_ms=round((now_s - self._failing_s) * 1000))
                self._failing_s, self._logged_s = None, float("-inf")
        self._attempts += 1

    def _asked(self) -> object:
        """Return what the function returns; a call that hangs is waited for again at the next attempt."""
        if self._running is None:
            self._running = SimpleQueue()
            arguments = (self._function, self._config, self._running)
            threading.Thread(target=_work, args=arguments, name="kafka-token", daemon=True).start()
        try:
            answer, error = self._running.get(timeout=_CALL_S)
        except Empty:
            raise RetryError(f"did not return within {_CALL_S:g} s") from None
        self._running = None
        if error is not None:
            raise RetryError(f"raised {_place_of(error)}") from error
        return answer


def _work(function: TokenFunction, config: str, answers: "SimpleQueue[tuple[object, BaseException | None]]") -> None:
    try:
        answers.put((function(config), None))
    except BaseException as error:  # noqa: BLE001 - foreign code; handed to `_asked`, which would wait in vain
        answers.put((None, error))


def _place_of(error: BaseException) -> str:
    """Return an error's type and where it was raised, without its text."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    path = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[: -_FRAMES - 1 : -1])
    return f"{name} in {path}" if path else name


def token_of(answer: object) -> Token:
    """Return a function's answer as a token. Raises UsageError for what no client takes, RetryError if it expired."""
    if not isinstance(answer, tuple) or not 2 <= len(answer) <= len(Token._fields):
        kind = f"a tuple of {len(answer)}" if isinstance(answer, tuple) else f"a value of type {type(answer).__name__}"
        raise UsageError(f"returned {kind}; let it return {_SHAPE}")
    given: tuple[object, ...] = answer
    value, expires_s, principal, extensions = given + Token("", 0)[len(given) :]
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        raise UsageError(f"returned a token that is no text of visible ASCII; let it return {_SHAPE}")
    if not isinstance(expires_s, int | float) or isinstance(expires_s, bool) or not 0 <= expires_s < _LATEST_S:
        raise UsageError(f"returned an expiry that is no time in seconds (milliseconds?); let it return {_SHAPE}")
    if not isinstance(principal, str) or not _EXTENSION.fullmatch(principal):
        raise UsageError(f"returned a principal that is no text; let it return {_SHAPE}")
    if not isinstance(extensions, dict) or not all(_is_extension(*item) for item in extensions.items()):
        raise UsageError(f"returned extensions that are no dict of letters to text; let it return {_SHAPE}")
    if (late_s := time.time() - expires_s) >= 0:
        raise RetryError(f"gave a token that expired {late_s:.0f} s ago")
    return Token(value, float(expires_s), principal, extensions)


def _is_extension(name: object, value: object) -> bool:
    is_name = isinstance(name, str) and re.fullmatch(r"[A-Za-z]+", name) is not None and name != "auth"
    return is_name and isinstance(value, str) and _EXTENSION.fullmatch(value) is not None


def token_function(name: str) -> TokenFunction:
    """Return the function that `module:function` names. Raises UsageError if there is none."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # foreign code may raise anything
        what = f"there is no module {error.name}" if isinstance(error, ModuleNotFoundError) else _place_of(error)
        raise UsageError(
            f"setting kafka_token: {module_name} cannot be imported: {what}; put a module that Python finds there "
            "(PYTHONPATH names folders), with what it imports installed beside this program"
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise UsageError(f"setting kafka_token: {module_name} has no function {attribute}; put the name of one there")
    return function  # type: ignore[no-any-return]


_sources: Final[dict[tuple[str, str], TokenSource]] = {}


def token_source(settings: Settings) -> TokenSource | None:
    """Return the source of this process's tokens, which has one; None without the setting. Raises as `require`."""
    if (name := settings.kafka_token) is None:
        return None
    config = str(settings.kafka.get("sasl.oauthbearer.config", ""))
    if (name, config) not in _sources:
        _sources[name, config] = TokenSource(name, token_function(name), config)
    source = _sources[name, config]
    source.require(settings.startup_timeout_s)
    return source


def token_trouble() -> str | None:
    """Return why brokers may just now have refused this process's token, if that passes by itself."""
    return next((trouble for source in _sources.values() if (trouble := source.trouble()) is not None), None)
