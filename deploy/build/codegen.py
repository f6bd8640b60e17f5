"""Writes processor/codec/generated.py, the codec of all versions of OrderEvent and OrderFact: `make codec`.

The decoders are those that `codec.decoders` makes of these schemas, as a module, which can be compiled. The encoders
are written here in the same manner. Each comes twice: with the lengths from a table, and for a text that is longer than
the table with any length. Where a schema changes without `make codec`, a test fails; the program reads by what it makes
of the new schema when it starts, and continues to write facts in the former versions.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Final

from processor.codec.decoders import AS_EVENT, AS_ITEMS, AS_ORDER, decoder_source
from processor.codec.fields import STRUCTS, fields_of
from processor.codec.schemas import EVENT, FACT, canonical, header_of, read_schemas, schema_folder
from processor.codec.source import Source, kind_of
from processor.codec.varints import LENGTHS

TARGET: Final = Path(__file__).parents[2] / "processor" / "codec" / "generated.py"
HEAD: Final = '''"""Generated from the schemas by deploy/build/codegen.py: change that and run `make codec`.

Long on purpose: a call for each value would cost more than reading it.
"""

import struct
from typing import Any, Final

from msgspec.structs import astuple

from processor.codec.varints import (
    LENGTHS, SOME_LENGTHS, amount_bytes, block_at, decimal_of, double_at, double_bytes, index_at, int_at, length_at,
    long_at, long_bytes, malformed, require_end, too_many_elements
)
from processor.domain.records import MAX_ELEMENTS, Event, Item, Order, PlainItems, UndecodableError

EVENT_HEADERS: Final = {event_headers!r}
FACT_HEADERS: Final = {fact_headers!r}
{facts}
STATUSES: Final = {statuses!r}
_ONE: Final = SOME_LENGTHS[1]
_FOUR: Final = SOME_LENGTHS[4]
'''
_TABLES: Final = {1: "_ONE", 4: "_FOUR"}
_PYTHON: Final = {"string": "str", "boolean": "bool", "long": "int", "double": "float"}  # the most frequent first


class Writing:
    """Writes functions that give a value's bytes; they raise IndexError at a length beyond the table."""

    prefix = ""
    longer: str | None = "long_"

    def __init__(self) -> None:
        self.lines: list[str] = []

    def length(self, count: str) -> str:
        """Return the expression of the bytes of a length."""
        return f"LENGTHS[{count}]"

    def length_after(self, index: int, count: str) -> str:
        """Return the same after a union's index."""
        return f"{_TABLES[index]}[{count}]"

    def value(self, schema: Any, source: str) -> str:
        """Return the expression for a value of the schema that a variable holds."""
        if isinstance(schema, list):
            return self._optional(schema, source)
        expressions = {
            "string": f"{self.length(f'len(r := {source}.encode())')}, r",
            "bytes": f"amount_bytes({source})",
            "int": f"LENGTHS[{source}] if 0 <= {source} < {len(LENGTHS)} else long_bytes({source})",  # most are small
            "long": f"long_bytes({source})",
            "double": f"double_bytes({source})",
            "enum": f"STATUSES[{source}]",
            "map": f"{self.prefix}map_bytes({source}) if {source} else b'\\0'",
            "array": f"{source} if isinstance({source}, bytes) else {self.prefix}packed_items({source}.lines)",
        }
        return expressions[kind_of(schema)]

    def _optional(self, branches: list[Any], source: str) -> str:
        match [kind_of(branch) for branch in branches]:
            case ["null", "string"]:
                return f"b'\\0' if {source} is None else {self.length_after(1, f'len(r := {source}.encode())')} + r"
            case ["null", "bytes"]:
                return f"b'\\0' if {source} is None else b'\\2' + amount_bytes({source})"
            case ["null", "long"]:
                return f"b'\\0' if {source} is None else b'\\2' + long_bytes({source})"
            case other:
                raise ValueError(f"union {other} is not written here")

    def _longs(self, sources: list[str]) -> Iterator[str]:
        """Write longs that stand side by side; one that equals the one before it, as times often do, only once."""
        yield f"(n := long_bytes({sources[0]}))"
        for before, source in pairwise(sources[:-1]):
            yield f"n if {source} == {before} else (n := long_bytes({source}))"
        yield f"n if {sources[-1]} == {sources[-2]} else long_bytes({sources[-1]})"

    def record(self, schema: Any, function: str, parameters: str, *head: str) -> None:
        """Add the function that gives a record's bytes."""
        fields = {field["name"]: field["type"] for field in schema["fields"]}
        names = fields_of(STRUCTS[schema["name"]])
        given = [parameter.split(":")[0] for parameter in parameters.split(", ")]
        code = Source(f"def {self.prefix}{function}({parameters}) -> bytes:")
        code.add(f'"""Write one {schema["name"]}."""')
        variables = [f"{field}_" if avro in fields else "_" for avro, field in names.items()]
        code.add(f"({', '.join(variables)}) = astuple({given[0]})")
        written = list(head)
        for kind, run in groupby(fields, key=lambda avro: kind_of(fields[avro])):
            sources = {avro: names[avro] + "_" for avro in run}
            if kind == "long" and len(sources) > 1:
                written += self._longs(list(sources.values()))
            else:
                written += [self.value(fields[avro], source) for avro, source in sources.items()]
        self._returned(code, f"b''.join(({', '.join(written)}))", function if head else None, ", ".join(given))

    def items(self, schema: Any) -> None:
        """Add the functions that give the bytes of an order's items."""
        self.record(schema["items"], "item_bytes", "item: Item")
        code = Source(f"def {self.prefix}packed_items(items: tuple[Item, ...]) -> bytes:")
        code.add('"""Write the items of an OrderFact."""')
        joined = f"b''.join([{self.prefix}item_bytes(item) for item in items])"
        written = f"{self.length('len(items)')} + {joined} + b'\\0' if items else b'\\0'"
        self._returned(code, written, "packed_items", "items")

    def _returned(self, code: Source, expression: str, function: str | None, given: str) -> None:
        if self.longer is not None and function is not None:
            code.add("try:", f"    return {expression}", "except IndexError:")
            code.add(f"    return {self.longer}{function}({given})")
        else:
            code.add(f"return {expression}")
        self.lines += code.lines

    def map(self, schema: Any) -> None:
        """Add the function that gives a map's bytes."""
        kinds = [kind_of(branch) for branch in schema["values"]]
        code = Source(f"def {self.prefix}map_bytes(scalars: dict[str, Any]) -> bytes:")
        code.add('"""Write a map that is not empty."""', f"parts = [{self.length('len(scalars)')}]")
        code.add("add = parts.append", "for name, value in scalars.items():")
        with code.deeper():
            code.add("raw = name.encode()", f"add({self.length('len(raw)')})", "add(raw)", "kind = value.__class__")
            for kind, python in _PYTHON.items():
                index = kinds.index(kind)
                code.add(f"{'if' if python == 'str' else 'elif'} kind is {python}:")
                with code.deeper():
                    if kind == "string":
                        code.add("raw = value.encode()", f"add({self.length_after(index, 'len(raw)')})", "add(raw)")
                    else:
                        code.add(f"add({bytes([index * 2])!r})")
                        written = "b'\\1' if value else b'\\0'" if kind == "boolean" else f"{kind}_bytes(value)"
                        code.add(f"add({written})")
            code.add("elif value is None:", f"    add({bytes([kinds.index('null') * 2])!r})")
            code.add("else:", "    raise TypeError(f'a value of type {kind}')")
        code.add("add(b'\\0')", "return b''.join(parts)")
        self.lines += code.lines


class LongWriting(Writing):
    """Writes the same functions for lengths of any size."""

    prefix = "long_"
    longer = None

    def length(self, count: str) -> str:
        """Return the expression of the bytes of a length."""
        return f"long_bytes({count})"

    def length_after(self, index: int, count: str) -> str:
        """Return the same after a union's index."""
        return f"{bytes([index * 2])!r} + long_bytes({count})"


def source() -> str:
    """Return the module's text."""
    versions = read_schemas(schema_folder())
    events, facts = versions[EVENT], versions[FACT]
    event, fact = events[max(events)], facts[max(facts)]
    types = {field["name"]: field["type"] for field in fact["fields"]}
    lines = _head(events, facts, types["status"]["symbols"])
    for version, schema in events.items():
        lines += decoder_source(f"event_{version}_at", schema, event, AS_EVENT)
    lines += decoder_source("items_at", types["items"], types["items"], AS_ITEMS)
    for version, schema in facts.items():
        lines += decoder_source(f"fact_{version}_at", schema, fact, AS_ORDER)
    for writing in (Writing(), LongWriting()):
        writing.map(types["custom"])
        writing.items(types["items"])
        for version, schema in facts.items():
            _require_same_parts(schema, types)
            parameters = f"order: Order, header: bytes = _FACT_{version}"
            writing.record(schema, f"fact_{version}_bytes", parameters, "header")
        lines += writing.lines
    lines += ["", "", *_table("EVENT_DECODERS", events, "event_{}_at", by_header=True)]
    lines += _table("FACT_DECODERS", facts, "fact_{}_at", by_header=True)
    lines += _table("FACT_ENCODERS", facts, "fact_{}_bytes", by_header=False)
    command = (sys.executable, "-m", "ruff", "format", "--stdin-filename", str(TARGET), "-")
    text = "\n".join(lines) + "\n"
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=True).stdout


def _head(events: Mapping[int, Any], facts: Mapping[int, Any], symbols: list[str]) -> list[str]:
    headers = {version: header_of(schema) for version, schema in facts.items()}
    return HEAD.format(
        event_headers={version: header_of(schema) for version, schema in events.items()},
        fact_headers=headers,
        facts="\n".join(f"_FACT_{version}: Final = {header!r}" for version, header in headers.items()),
        statuses={symbol: bytes([index * 2]) for index, symbol in enumerate(symbols)},
    ).splitlines()


def _require_same_parts(fact: Any, types: Mapping[str, Any]) -> None:
    """Require that a version has the newest one's statuses, custom fields and items, whose functions are shared."""
    own = {field["name"]: field["type"] for field in fact["fields"]}
    for name in ("status", "custom", "items"):
        if canonical(own[name]) != canonical(types[name]):
            raise ValueError(f"{name} differs between the versions of OrderFact: write functions for each")


def _table(name: str, versions: Mapping[int, Any], function: str, *, by_header: bool) -> list[str]:
    """Return the lines of a table of functions, by the header of their version or by its number."""
    keys = {version: repr(header_of(schema)) if by_header else str(version) for version, schema in versions.items()}
    return [f"{name}: Final = {{{', '.join(f'{key}: {function.format(version)}' for version, key in keys.items())}}}"]


def main() -> None:
    """Write the module, or with --check say whether it is as it should be."""
    parser = argparse.ArgumentParser(description="Write the codec of the newest schemas.")
    parser.add_argument("--check", action="store_true", help="only compare; exit with 1 where it differs")
    if not parser.parse_args().check:
        TARGET.write_text(source(), encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != source():
        sys.exit(f"{TARGET.name} is not what the schemas make: run `make codec`")


if __name__ == "__main__":
    main()
