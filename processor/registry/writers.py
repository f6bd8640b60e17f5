"""The writers' schemas that a schema registry holds, by the framing's prefix (see `registry.framing`).

The registry is asked on threads of their own, 50 times a second at most, so that a slow one holds no loop up. Answers
are for ever: an id never gets another schema. They are kept within bounds, as what follows from them is kept by their
users. Silence is a wait, and never a rejection; `registry.agenda` says when an unknown id is given up.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from processor.domain.records import UndecodableError
from processor.errors import AwaitedSchemaError, RegistryError, RegistryRefusesError
from processor.registry.agenda import Agenda
from processor.registry.client import NotThereError, Registry
from processor.registry.framing import shown
from processor.registry.writer_schema import Writer
from processor.settings import Settings

_THREADS: Final = 4  # a question that hangs holds up no other
_REQUESTS_PER_S: Final = 50
_MOST_KNOWN: Final = 2_000
_MOST_KNOWN_BYTES: Final = 4 << 20
_Answer = Writer | NotThereError | RegistryError | RegistryRefusesError
NOT_KNOWN: Final = "the schema registry does not know it"


class AbsentSchemaError(UndecodableError):
    """As UndecodableError: the registry does not know the schema, for longer than the grace."""


class Writers:
    """The schemas of a registry. `patience_s` is how long `of` waits for an answer: 0 for a loop."""

    def __init__(self, settings: Settings, patience_s: float = 0.0) -> None:
        """Raise UsageError if a file of the settings cannot be used. Asks nothing yet."""
        self._registry = Registry(settings)
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._agenda = Agenda(0.0 if patience_s else settings.schema_grace_s)
        self._known: OrderedDict[bytes, Writer] = OrderedDict()
        self._known_bytes = 0
        self._refused: RegistryRefusesError | None = None
        self._next_s = 0.0  # when the next request may be made
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    def of(self, prefix: bytes) -> Writer:
        """Return the schema of a prefix.

        Raises AwaitedSchemaError while the registry is asked for it; AbsentSchemaError if the registry does not know
        it; UndecodableError if it is none whose values are read here. With patience it raises RegistryRefusesError,
        too: a command ends where a loop waits.
        """
        with self._changed:
            if not self._is_settled(prefix):
                self._ask(prefix, is_urgent=True)
                deadline = time.monotonic() + self._patience_s
                while not self._is_settled(prefix) and (left_s := deadline - time.monotonic()) > 0:
                    self._changed.wait(left_s)
                    if self._refused is not None and self._patience_s:
                        raise self._refused
            writer = self._known.get(prefix)
            if writer is None:
                if self._agenda.is_missing(prefix, time.monotonic()):
                    raise AbsentSchemaError(f"{shown(prefix)}: {NOT_KNOWN}")
                raise AwaitedSchemaError(f"{shown(prefix)}: {self._agenda.problem(prefix)}", prefix)
            self._known.move_to_end(prefix)
        if writer.refusal is not None:
            raise UndecodableError(f"{shown(prefix)}: {writer.refusal}")
        return writer

    def add(self, prefix: bytes, writer: Writer) -> None:
        """Note a schema that is known otherwise."""
        with self._changed:
            self._keep(prefix, writer)

    def want(self, prefix: bytes) -> None:
        """Ask for a schema that somebody waits for."""
        with self._changed:
            if not self._is_settled(prefix):
                self._ask(prefix, is_urgent=True)

    def look_ahead(self, prefixes: Iterable[bytes]) -> None:
        """Ask for schemas that will be wanted, as far as there is room."""
        with self._changed:
            for prefix in prefixes:
                if not self._is_settled(prefix):
                    self._ask(prefix, is_urgent=False)

    def is_settled(self, prefix: bytes) -> bool:
        """Return whether `of` would neither wait nor raise AwaitedSchemaError."""
        with self._changed:
            return self._is_settled(prefix)

    def is_known(self, prefix: bytes) -> bool:
        """Return whether the schema of a prefix is here."""
        with self._changed:
            return prefix in self._known

    def problem(self, prefix: bytes) -> str:
        """Return what the registry last answered for a prefix that is awaited."""
        with self._changed:
            return f"{shown(prefix)}: {self._agenda.problem(prefix)}"

    def close(self) -> None:
        """Ask no more; a question that is out ends by itself."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _is_settled(self, prefix: bytes) -> bool:
        return prefix in self._known or self._agenda.is_missing(prefix, time.monotonic())

    def _ask(self, prefix: bytes, *, is_urgent: bool) -> None:
        self._agenda.want(prefix, time.monotonic(), is_urgent=is_urgent)
        if len(self._threads) < min(_THREADS, len(self._agenda)):
            thread = threading.Thread(target=self._work, name="schema registry", daemon=True)
            self._threads.append(thread)
            thread.start()
        assert all(thread.is_alive() for thread in self._threads) or self._is_closed, "a thread that asks has ended"
        self._changed.notify_all()

    def _work(self) -> None:
        while (due := self._next()) is not None:
            prefix, attempt = due
            asked_s = time.monotonic()
            answer: _Answer
            try:
                answer = self._registry.writer(prefix, attempt, self._pace)
            except (NotThereError, RegistryError, RegistryRefusesError) as error:
                answer = error
            with self._changed:
                self._note(prefix, asked_s, answer)
                self._changed.notify_all()

    def _note(self, prefix: bytes, asked_s: float, answer: _Answer) -> None:
        now_s = time.monotonic()
        match answer:
            case Writer():
                self._agenda.known(prefix)
                self._keep(prefix, answer)
            case NotThereError():
                self._agenda.not_there(prefix, asked_s, now_s)
            case _:
                self._refused = answer if isinstance(answer, RegistryRefusesError) else None
                self._agenda.failed(prefix, now_s, str(answer))

    def _next(self) -> tuple[bytes, int] | None:
        """Wait for a prefix that is due, and for a request's turn; None once it is closed."""
        with self._changed:
            while not self._is_closed:
                now_s = time.monotonic()
                wait_s: float | None = self._next_s - now_s
                if self._next_s <= now_s:
                    if (due := self._agenda.next(now_s)) is not None:
                        self._take_turn(now_s)
                        return due
                    wait_s = self._agenda.wait_s(now_s)
                self._changed.wait(wait_s)
            return None

    def _pace(self) -> None:
        """Wait for a request's turn: a schema that refers to others needs several."""
        with self._changed:
            while (now_s := time.monotonic()) < self._next_s and not self._is_closed:
                self._changed.wait(self._next_s - now_s)
            self._take_turn(now_s)

    def _take_turn(self, now_s: float) -> None:
        self._next_s = now_s + 1 / _REQUESTS_PER_S

    def _keep(self, prefix: bytes, writer: Writer) -> None:
        before = self._known.pop(prefix, None)
        self._known[prefix] = writer
        self._known_bytes += writer.size_bytes - (before.size_bytes if before else 0)
        while len(self._known) > 1 and (len(self._known) > _MOST_KNOWN or self._known_bytes > _MOST_KNOWN_BYTES):
            _, given_up = self._known.popitem(last=False)
            self._known_bytes -= given_up.size_bytes
