"""A segment's query: one of the library's by its name, a file, or standard input.

A query's first comment lines say whom it finds; a line `-- name: what it is` declares a parameter `$name`, and
`-- name (value): what it is` one with a default.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple

from processor.errors import UsageError

_LIBRARY: Final = Path(__file__).with_name("library")
_PARAMETER: Final = re.compile(r"-- (\w+)(?: \((.*?)\))?: (.+)")


class Parameter(NamedTuple):
    """What a query asks for; without a default it has to be given."""

    name: str
    default: str | None
    about: str


class Query(NamedTuple):
    """A segment's query, with the name of its segment."""

    name: str
    sql: str
    about: str = ""
    parameters: tuple[Parameter, ...] = ()

    def filled(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the values of all parameters. Raises UsageError for one that is missing or unknown."""
        declared = {parameter.name for parameter in self.parameters}
        asked = {name for name in given if re.search(rf"\${re.escape(name)}\b", self.sql)}
        if declared and (unknown := sorted(given.keys() - declared - asked)):
            raise UsageError(f"{self.name} has no parameter {unknown[0]}; it has: {', '.join(sorted(declared))}")
        defaults = {one.name: one.default for one in self.parameters if one.default is not None}
        for parameter in self.parameters:
            if parameter.name not in defaults | dict(given):
                raise UsageError(f"{self.name} needs {parameter.name}=...: {parameter.about}")
        return defaults | dict(given)


def library() -> tuple[Query, ...]:
    """Return the queries that come with the program, by name."""
    return tuple(_query(path.stem, path.read_text("utf-8")) for path in sorted(_LIBRARY.glob("*.sql")))


def query_of(given: str) -> Query:
    """Return a query by its name in the library, by its file's path (NAME.sql), or from standard input (-).

    Raises UsageError if there is none.
    """
    if given == "-":
        return _query("-", _decoded(given, sys.stdin.buffer.read()))
    if given.endswith(".sql") or "/" in given:
        path = Path(given)
        try:
            return _query(path.stem, _decoded(given, path.read_bytes()))
        except OSError as error:
            raise UsageError(f"{given} cannot be read: {error.strerror}") from error
    found = {query.name: query for query in library()}
    if given not in found:
        near = get_close_matches(given, found, 1)
        hint = f"did you mean {near[0]}?" if near else "order-facts segments list"
        raise UsageError(f"no segment is called {given}; {hint} (a file's name ends in .sql)")
    return found[given]


def values_of(given: Iterable[str]) -> dict[str, str]:
    """Return parameters that are given as NAME=VALUE. Raises UsageError for anything else, or for one given twice."""
    values: dict[str, str] = {}
    for one in given:
        name, is_given, value = one.partition("=")
        if not is_given or not name:
            raise UsageError(f"{one} is no parameter; give NAME=VALUE, as in item=22423")
        if name in values:
            raise UsageError(f"the parameter {name} is given twice")
        values[name] = value
    return values


def _decoded(given: str, encoded: bytes) -> str:
    try:
        return encoded.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{given} is not UTF-8: {error}") from error


def _query(name: str, sql: str) -> Query:
    about, parameters = list[str](), list[Parameter]()
    for line in sql.strip().splitlines():
        if not line.startswith("--"):
            break
        found = _PARAMETER.fullmatch(line.rstrip())
        if found and re.search(rf"\${found[1]}\b", sql):  # else it is a remark with a colon
            parameters.append(Parameter(*found.groups()))
        elif not parameters:
            about.append(line.removeprefix("--").strip())
    return Query(name, sql, " ".join(about), tuple(parameters))
