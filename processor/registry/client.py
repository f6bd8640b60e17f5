"""The questions to a schema registry with Confluent's interface, and its answers as values.

Takes subjects, and schemas as texts; gives versions, ids, levels and what is wrong. Registers only when it is told to.
What is not there is a value, not an error. Waits for a registry that is away as long as it is told to, then raises
RegistryError; so does any answer that is not a registry's. Raises RegistryRefusesError where it is refused.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

from processor.errors import RegistryError, RegistryRefusesError, SchemaRefusedError, UsageError
from processor.registry.framing import path_of
from processor.registry.transport import MOST_BYTES, Answer, AnswerTooLargeError, Transport
from processor.registry.writer_schema import Reference, Writer, with_references
from processor.settings import Settings
from processor.settings.registry_properties import addresses_of

T = TypeVar("T")
_PAUSE_S: Final = 0.5
_MOST_ID: Final = 2**31 - 1  # readers take the four bytes as a signed number
_NEWER: Final = "/schemas/guids/"  # a path that some registries do not know: Apicurio answers 404 without a body
_ELSEWHERE: Final = frozenset({408, 429, *range(500, 600)})  # another node may answer


class NotThereError(Exception):
    """The registry does not know a schema."""


class Registered(NamedTuple):
    """A schema as a subject holds it."""

    version: int
    id: int
    text: str


class Registry:
    """A registry; `patience_s` is how long a question waits for one that does not answer."""

    def __init__(self, settings: Settings, patience_s: float = 0.0) -> None:
        """Raise UsageError where no address is set, or a file of the settings cannot be used."""
        if settings.schema_registry_url is None:
            raise UsageError(
                "setting schema_registry_url: put the address of the schema registry there, such as http://localhost:8081"
            )
        self._addresses = addresses_of(settings.schema_registry_url)
        self._transport = Transport(settings)
        self._patience_s = patience_s

    def versions(self, subject: str) -> tuple[Registered, ...]:
        """Return the schemas of a subject, the oldest first; empty if there is no such subject."""
        path = f"/subjects/{quote(subject, safe='')}/versions"
        numbers = self._ask("GET", path) or []
        if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
            raise RegistryError("the schema registry answers without versions; look at schema_registry_url")
        found = (self._ask("GET", f"{path}/{number}") for number in numbers)
        return tuple(_registered(one) for one in found if one is not None)

    def find(self, subject: str, text: str) -> Registered | None:
        """Return what a client without `auto.register.schemas` finds for a schema's text, None if it finds nothing."""
        found = self._ask("POST", f"/subjects/{quote(subject, safe='')}", {"schema": text})
        return None if found is None else _registered(found)

    def writer(self, prefix: bytes, attempt: int, pace: Callable[[], None]) -> Writer:
        """Return the schema of a framing's prefix, and what it refers to; `pace` runs before each further request.

        Each attempt begins with another address. Raises NotThereError where the registry does not know the schema.
        """

        def fetch(reference: Reference) -> Any:
            pace()
            return ask(f"/subjects/{quote(reference.subject, safe='')}/versions/{reference.version}")

        def ask(path: str) -> Any:
            try:
                found = self._ask("GET", path, first=attempt, pace=pace)
            except SchemaRefusedError as error:  # nothing was given that could be refused
                raise RegistryError(str(error)) from error
            if found is None:
                raise NotThereError
            if not isinstance(found, dict) or "schema" not in found:  # a gateway's "200, maintenance", for one
                raise RegistryError("the schema registry answers without a schema; look at schema_registry_url")
            return found

        try:
            writer = with_references(ask(path_of(prefix)), fetch)
            if writer.header is not None:
                return writer
            # What is shown of it stands in rejected records and logs.
            said = None if writer.refusal is None else self._transport.without_secrets(writer.refusal)
            return writer._replace(name=self._transport.without_secrets(writer.name), refusal=said)
        except AnswerTooLargeError:
            return Writer("", 0, refusal=f"the schema registry's answer has more than {MOST_BYTES >> 10} KiB")

    def register(self, subject: str, text: str) -> None:
        """Register a schema as the subject's next version. Raises SchemaRefusedError."""
        if self._ask("POST", f"/subjects/{quote(subject, safe='')}/versions", {"schema": text}) is None:
            raise RegistryError(f"the schema registry cannot register a schema under {subject}: it answers 404")

    def level(self, subject: str) -> str | None:
        """Return the subject's level of compatibility, None if it has none of its own."""
        found = self._ask("GET", f"/config/{quote(subject, safe='')}")
        return None if found is None else _of(found, "compatibilityLevel", str)

    def level_in_force(self, subject: str) -> str | None:
        """Return the subject's level, that of the whole registry if it has none; None if the registry does not say."""
        found = self._ask("GET", f"/config/{quote(subject, safe='')}?defaultToGlobal=true")
        return None if found is None else _of(found, "compatibilityLevel", str)

    def set_level(self, subject: str, level: str) -> None:
        """Set the subject's level of compatibility; the subject need not exist yet."""
        self._ask("PUT", f"/config/{quote(subject, safe='')}", {"compatibility": level})

    def objections(self, subject: str, text: str) -> list[str] | None:
        """Return why the subject's level does not allow a schema, which may be unsaid; None if it allows it."""
        path = f"/compatibility/subjects/{quote(subject, safe='')}/versions?verbose=true"
        found = self._ask("POST", path, {"schema": text})
        if found is None or _of(found, "is_compatible", bool):
            return None
        said = found.get("messages")
        return [self._transport.without_secrets(str(one)) for one in said] if isinstance(said, list) else []

    def _ask(
        self, method: str, path: str, body: Any = None, *, first: int = 0, pace: Callable[[], None] = lambda: None
    ) -> Any:
        """Return an answer's JSON, None for what is not there; ask again while the registry is away, within reason.

        `first` is the number of the address that is asked first, counted in a circle.
        """
        data = b"" if body is None else json.dumps(body).encode()
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                address, answer = self._of_any(method, path, data, first, pace)
            except RegistryError:
                if time.monotonic() + _PAUSE_S > deadline:
                    raise
            else:
                if answer.status not in _ELSEWHERE or time.monotonic() + _PAUSE_S > deadline:
                    return self._value(address, answer, path)
            time.sleep(_PAUSE_S)

    def _of_any(self, method: str, path: str, data: bytes, first: int, pace: Callable[[], None]) -> tuple[str, Answer]:
        """Return an address and its answer: the first that does answer, in the order of the setting."""
        first %= len(self._addresses)
        *addresses, last = self._addresses[first:] + self._addresses[:first]
        for address in addresses:
            with suppress(RegistryError):  # as the last one's: that tells
                answer = self._transport.ask(address, method, path, data)
                if answer.status not in _ELSEWHERE:
                    return address, answer
            pace()
        return last, self._transport.ask(last, method, path, data)

    def _value(self, address: str, answer: Answer, path: str) -> Any:
        value = _json(answer.body)
        if answer.status == 200 and isinstance(value, dict | list):
            return value
        code = value.get("error_code") if isinstance(value, dict) else None
        is_its_own = isinstance(code, int) and code >= 40_400
        if path.startswith(_NEWER):
            is_its_own |= code == 404 or not answer.body
        if answer.status == 404 and is_its_own:
            return None
        said = self._transport.without_secrets(str(value.get("message", ""))) if isinstance(value, dict) else ""
        shown = f"{answer.status}: {said}" if said else f"{answer.status}"
        if answer.status in (401, 403):
            raise RegistryRefusesError(
                f"the schema registry at {address} refuses the program ({shown}): put credentials with the right to "
                "read (and for `schemas register` to write) its subjects into the setting schema_registry"
            )
        if answer.status in (409, 422):
            raise SchemaRefusedError(f"the schema registry at {address} refuses the schema or the level ({shown})")
        what = "200 without a registry's JSON" if answer.status == 200 else shown
        raise RegistryError(f"{address} does not answer as a schema registry: {what}; look at schema_registry_url")


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _registered(found: Any) -> Registered:
    version, schema_id = (_of(found, name, int) for name in ("version", "id"))
    if not 0 <= schema_id <= _MOST_ID:
        raise RegistryError(f"the schema registry answers with an id that is none: {schema_id}")
    return Registered(version, schema_id, _of(found, "schema", str))


def _of(found: Any, name: str, kind: type[T]) -> T:
    """Return a part of an answer. Raises RegistryError where it is not there."""
    part = found.get(name) if isinstance(found, dict) else None
    if not isinstance(part, kind):
        raise RegistryError(f"the schema registry answers without {name}; look at schema_registry_url")
    return part
