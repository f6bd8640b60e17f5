"""The names of a line's fields as other systems expect them: the setting `log_profile`. Nothing but names changes.

Two exceptions: `ecs` adds `ecs.version`, which its readers require, and `gcp` has its severities in capital letters.
Sources: the ECS logging specification and ECS 8.11; Google Cloud's "Structured logging"; OpenTelemetry's log data model
and its semantic conventions for resources.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

Line = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Profile:
    """`names` has new names in the order of the line; every other field gets `prefix`. `constants` come last."""

    names: Mapping[str, str]
    prefix: str = ""
    constants: Mapping[str, str] = field(default_factory=dict)
    has_capital_levels: bool = False

    def renamed(self, line: Line) -> Line:
        """Return the line with its fields' names of this profile."""
        if self.has_capital_levels:
            line["level"] = line["level"].upper()
        first = {new: line[name] for name, new in self.names.items() if name in line}
        own = {self.prefix + name: value for name, value in line.items() if name not in self.names}
        return {**first, **own, **self.constants}


PROFILES: Final[Mapping[str, Profile]] = {
    "ecs": Profile(
        {
            "timestamp": "@timestamp",
            "level": "log.level",
            "message": "message",
            "event": "event.action",
            "service": "service.name",
            "version": "service.version",
            "instance": "service.node.name",
            "error": "error.message",
            "user": "user.name",
        },
        prefix="order_facts.",
        constants={"ecs.version": "8.11.0"},
    ),
    "gcp": Profile({"level": "severity", "timestamp": "time", "message": "message"}, has_capital_levels=True),
    "otel": Profile(
        {
            "timestamp": "Timestamp",
            "level": "SeverityText",
            "message": "Body",
            "event": "EventName",
            "service": "service.name",
            "version": "service.version",
            "instance": "service.instance.id",
        },
        prefix="order_facts.",
    ),
}
"""Profile -> its names. `default` has none: its lines are as `published` says."""
