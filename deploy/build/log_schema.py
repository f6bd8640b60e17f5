"""Writes `schemas/logs.schema.json`, the JSON Schema of the log lines, from the list of events: `make docs`.

With `--check` it only compares. It describes the lines of log_profile=default; a profile renames their fields.
Exit codes: 0 the file matches the code; 1 it does not (`--check`); 2 wrong usage.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from deploy.build.written_files import write_or_compare
from processor.logs import EVENTS, MEANINGS
from processor.logs.published import COMMON, NULLABLE, SOMETIMES, TYPES

ROOT: Final = Path(__file__).resolve().parents[2]
FILE: Final = ROOT / "schemas/logs.schema.json"
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_LIST: Final = re.compile(r"\[\s+((?:\"[^\"]*\",?\s+)+)\]")  # of texts: on one line
_LISTS: Final = {"integers": "integer", "strings": "string"}


def schema() -> dict[str, Any]:
    """Return the schema: `properties` has each field's one type, `$defs` each event's fields."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A log line of order-facts",
        "description": (
            "Written by `make docs`. A field has one type in all lines. `message` is for people and may change: "
            "read the other fields."
        ),
        "type": "object",
        "required": list(COMMON),
        "properties": {name: _field(name) for name in (*COMMON, *SOMETIMES, *sorted({*TYPES} - {*COMMON, *SOMETIMES}))},
        "oneOf": [{"$ref": f"#/$defs/{event}"} for event in EVENTS],
        "$defs": {event: _event(event, fields) for event, fields in EVENTS.items()},
    }


def _event(event: str, fields: Sequence[str]) -> dict[str, Any]:
    return {
        "description": MEANINGS[event],
        "properties": {"event": {"const": event}},
        "required": list(fields),
        "propertyNames": {"enum": [*COMMON, *fields, *SOMETIMES]},
    }


def _field(name: str) -> dict[str, Any]:
    kind = TYPES[name]
    if kind in _LISTS:
        found: dict[str, Any] = {"type": "array", "items": {"type": _LISTS[kind]}}
    elif kind == "counts":
        found = {"type": "object", "additionalProperties": {"type": "integer"}}
    else:
        found = {"type": [kind, "null"] if name in NULLABLE else kind}
    if name == "level":
        found["enum"] = LEVELS
    if name == "timestamp":
        found["format"] = "date-time"
    if name in SOMETIMES:
        found["description"] = SOMETIMES[name]
    return found


def main() -> None:
    """Write the file, or with --check only compare, and exit with 1 if it differs."""
    text = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    text = _LIST.sub(lambda found: f"[{' '.join(found[1].split())}]", text)
    write_or_compare("Write the log lines' schema from the code.", {FILE: text}, ROOT, "differs from the code")


if __name__ == "__main__":
    main()
