"""From the bytes of one line to what it says, or to what it is instead.

Container tools put a prefix before each line: `kubectl logs --prefix` a pod's name, `docker compose logs` a service's,
either a time on request. So a line's JSON begins at its first `{"`. A line of Docker's own log files (json-file) has
the program's line in its `log`. Lines of any `log_profile` are read: its name for the timestamp tells it, and all names
become ours. Nothing that a line holds may raise an error here.
"""

import math
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec

from processor.logs.profiles import PROFILES
from processor.logs.published import REPEATED

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_S: Final = 253_402_214_400.0  # a day before the last moment that a date can show
_JSON: Final = msgspec.json.Decoder()
# by a profile's name for the timestamp: our name for each of its names, and what stands before the others
_OURS: Final = {
    profile.names["timestamp"]: ({new: ours for ours, new in profile.names.items()}, profile.prefix)
    for profile in PROFILES.values()
}
_LONGEST_NAME: Final = 40
_NAME: Final = "?"  # of an instance that gives none


class Other(Enum):
    """What a line is that is none of this program's."""

    NOT_JSON = "not JSON"
    FOREIGN = "of other programs"


class Line(NamedTuple):
    """One line of the program: when in seconds since the epoch, and all its fields by their names."""

    at_s: float
    level: str
    event: str
    instance: str
    fields: dict[str, Any]

    def number(self, name: str) -> float | None:
        """Return a field that is a finite number; None for any other."""
        return number_of(self.fields.get(name))

    @property
    def times(self) -> int:
        """How many lines this one stands for: itself, and those like it that were left out before it."""
        return 1 + int(max(0.0, self.number(REPEATED) or 0.0)) if REPEATED in self.fields else 1

    def text(self, name: str) -> str:
        """Return a field that is a text; nothing for any other."""
        value = self.fields.get(name)
        return value if type(value) is str else ""


def read(line: bytes) -> Line | Other | None:
    """Return what a line says; None for a blank one."""
    begin = line.find(b'{"')
    if begin < 0:
        return Other.NOT_JSON if line.strip() else None
    fields = _decoded(line[begin:])
    if fields is not None and "event" not in fields and type(inner := fields.get("log")) is str:
        return read(inner.encode(errors="replace"))
    if fields is None:
        return Other.NOT_JSON
    if "timestamp" not in fields:
        fields = _renamed(fields)
    event, at_s = fields.get("event"), _seconds(fields.get("timestamp"))
    if type(event) is not str or at_s is None:
        return Other.FOREIGN
    instance, level = fields.get("instance"), fields.get("level")
    name = instance[:_LONGEST_NAME] if type(instance) is str and instance else _NAME
    return Line(at_s, level.lower() if type(level) is str else "", event, name, fields)


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a line's fields by our names, whatever profile it has; those of somebody else's line as they are."""
    for timestamp, (ours, prefix) in _OURS.items():
        if timestamp in fields:
            return {ours.get(name) or name.removeprefix(prefix): value for name, value in fields.items()}
    return fields


def number_of(value: Any) -> float | None:
    """Return a finite number; None for anything else."""
    if type(value) is int:
        return float(value) if -(2**63) <= value < 2**63 else None
    return value if type(value) is float and math.isfinite(value) else None


def _decoded(text: bytes) -> dict[str, Any] | None:
    try:
        found = _JSON.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if type(found) is dict else None


def _seconds(timestamp: Any) -> float | None:
    """Return an ISO 8601 text as seconds since the epoch; without an offset it is in UTC."""
    if type(timestamp) is not str:
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    at_s = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH).total_seconds()
    return at_s if 0 <= at_s <= _LAST_S else None
