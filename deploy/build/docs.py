"""Writes the tables in the Markdown files from the code: `make docs`. With `--check` it only compares.

A table is between `<!-- make docs: NAME -->` and `<!-- end -->`, in any file. Exit codes: 0 all tables match the code;
1 some do not (`--check`), and each file is named; 2 wrong usage. Raises KeyError for an unknown table name.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, Literal, get_args, get_origin, get_type_hints

import click
import msgspec
from prometheus_client import CollectorRegistry

from deploy.build import sizing
from deploy.build.stops import ROWS
from deploy.build.written_files import write_or_compare
from deploy.observability.alerts import ALERTS
from deploy.observability.runbook import anchor
from processor.cli import cli
from processor.contacts import keeper_metrics
from processor.domain.rejections import Reason
from processor.logs import EVENTS, MEANINGS
from processor.logs.profiles import PROFILES
from processor.logs.published import COMMON
from processor.membership import publisher_metrics
from processor.replay import healer_metrics
from processor.replica.metrics import REGISTRY
from processor.replica.partitions import TRANSITIONS, Happening
from processor.settings import ALLOWED_FOR, REGISTRY_ALLOWED_FOR, RESERVED_BECAUSE, Settings, description

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = (".github", "deploy", "processor", "schemas", "tests")
_TABLE: Final = re.compile(r"(<!-- make docs: (?P<name>[a-z]+) -->\n).*?(?=<!-- end -->)", re.DOTALL)
Rows = Iterator[Sequence[str]]


def settings() -> Rows:
    """Yield each setting: its name, default and meaning, with its allowed values."""
    yield "setting", "default", "meaning"
    hints = get_type_hints(Settings)
    for field in msgspec.structs.fields(Settings):
        meaning, _, stated = description(field.name).partition(" (default: ")
        default = "none" if field.default in (None, (), msgspec.NODEFAULT) else _code(field.default)
        choices = get_args(hints[field.name]) if get_origin(hints[field.name]) is Literal else ()
        values = f" ({_codes(choices)})" if choices else ""
        yield _code(field.name), stated.removesuffix(")") or default, meaning + values


def commands() -> Rows:
    """Yield each command: how to call it, what it does, and its options that are not settings."""
    yield "command", "does", "options"
    settings = {*Settings.__struct_fields__, "config"}
    for path, command in _commands(cli, ""):
        words, options = [path], []
        for param in command.params:
            if isinstance(param, click.Argument):
                words.append(param.metavar or str(param.name).upper())
            elif isinstance(param, click.Option) and (param.name not in settings or param.metavar == "N"):
                options.append(f"{_code(' '.join(filter(None, (param.opts[0], param.metavar))))}: {param.help}")
        does = " ".join((command.help or "").split("\n\n")[0].split())
        yield _code(" ".join(words)), does, "<br>".join(options)


def logs() -> Rows:
    """Yield each log event: its name, meaning and own fields."""
    yield "event", "meaning", "its own fields"
    for event, fields in EVENTS.items():
        yield _code(event), MEANINGS[event], _codes(fields)


def profiles() -> Rows:
    """Yield each field of a log line that a profile renames, and all others: its name in each profile."""
    yield "field", *map(_code, PROFILES)
    for name in dict.fromkeys((*COMMON, *chain.from_iterable(profile.names for profile in PROFILES.values()))):
        yield _code(name), *(_code(profile.names.get(name, profile.prefix + name)) for profile in PROFILES.values())
    yield (
        "any other",
        *(f"{_code(profile.prefix)} before it" if profile.prefix else "as it is" for profile in PROFILES.values()),
    )


def metrics() -> Rows:
    """Yield each metric of `run` as Prometheus names it."""
    yield from _families(REGISTRY)


def index() -> Rows:
    """Yield each metric of `contacts index`."""
    yield from _families(keeper_metrics.REGISTRY)


def healer() -> Rows:
    """Yield each metric of `rejected replay --follow`."""
    yield from _families(healer_metrics.REGISTRY)


def publisher() -> Rows:
    """Yield each metric of `segments publish --every`."""
    yield from _families(publisher_metrics.REGISTRY)


def _families(registry: CollectorRegistry) -> Rows:
    yield "metric", "type", "meaning"
    for family in registry.collect():
        yield _code(family.name + "_total" * (family.type == "counter")), family.type, family.documentation


def reasons() -> Rows:
    """Yield each reason, in the order of precedence: its outcome, the rules that give it, and what to do."""
    yield "reason", "outcome", "rule", "what to do"
    for reason in Reason:
        yield _code(reason.value), reason.outcome.value, reason.rules, reason.what_to_do


def allowed() -> Rows:
    """Yield the Kafka properties that the setting `kafka` takes."""
    yield "for", "properties"
    for what, names in ALLOWED_FOR.items():
        yield what, _codes(names)


def reserved() -> Rows:
    """Yield the Kafka properties that the setting `kafka` refuses with a reason of their own."""
    yield "property", "why"
    for why, names in RESERVED_BECAUSE.items():
        yield _codes(names), why


def registry() -> Rows:
    """Yield the properties that the setting `schema_registry` takes."""
    yield "for", "properties"
    for what, names in REGISTRY_ALLOWED_FOR.items():
        yield what, _codes(names)


def partitions() -> Rows:
    """Yield each state of a partition, and the state after each thing that can happen in it."""
    yield "state", *(what.value.replace("_", " ") for what in Happening)
    for state, happenings in TRANSITIONS.items():
        after = (happenings.get(what) for what in Happening)
        yield _code(state.value), *(_code(found.value) if found else "" for found in after)


def stops() -> Rows:
    """Yield what stops the program: words of its line, the cause, and how to go on."""
    yield "the line says", "cause", "how to go on"
    for row in ROWS:
        yield _code(row.says), row.cause, row.go_on


def alerts() -> Rows:
    """Yield each alert: how bad it is, what it says, and from what it can be had."""
    yield "alert", "severity", "says", "from"
    for alert in ALERTS:
        sources = [name for name, asked in (("metrics", alert.metrics), ("logs", alert.logs)) if asked]
        says = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", alert.summary)
        yield f"[{alert.name}](../RUNBOOK.md#{anchor(alert.name)})", alert.severity, says, ", ".join(sources)


TABLES: Final[dict[str, Callable[[], Rows]]] = {
    made.__name__: made
    for made in (
        settings,
        commands,
        logs,
        profiles,
        metrics,
        index,
        healer,
        publisher,
        reasons,
        allowed,
        reserved,
        registry,
        partitions,
        stops,
        alerts,
        *(sizing.figures, sizing.assumptions, sizing.sizes, sizing.limits),
    )
}


def markdown_files(root: Path = ROOT) -> list[Path]:
    """Return the project's Markdown files, in order."""
    inside = (file for folder in FOLDERS for file in (root / folder).rglob("*.md"))
    return sorted([*root.glob("*.md"), *inside])


def written(text: str) -> str:
    """Return a file's text with its tables as the code has them. Raises KeyError for an unknown table."""
    return _TABLE.sub(lambda found: found[1] + _markdown(TABLES[found["name"]]()), text)


def main() -> None:
    """Write all tables, or with --check name each file whose tables differ from the code, and exit with 1."""
    texts = {file: written(file.read_text(encoding="utf-8")) for file in markdown_files()}
    difference = "has tables that differ from the code"
    write_or_compare("Write the tables in the documents from the code.", texts, ROOT, difference)


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from _commands(found, f"{path} {name}".strip())


def _markdown(rows: Rows) -> str:
    header, *body = rows
    lines = [[cell.replace("|", "\\|") for cell in row] for row in (header, ["---"] * len(header), *body)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _code(value: object) -> str:
    return f"`{value}`"


def _codes(values: Sequence[object]) -> str:
    return ", ".join(map(_code, values))


if __name__ == "__main__":
    main()
