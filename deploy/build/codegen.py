"""Writes processor/codec/generated.py, the codec of the newest OrderEvent and OrderFact: `make codec`.

One function for each direction reads or writes every length, index and number in place: a third of the time of
fastavro's C, since nothing of the schema is left to look up. The functions take what writers usually write and raise
at anything else; then `avro` uses the plain way. Tests hold that both give the same results. A schema that changes
without `make codec` costs speed, nothing else, and fails a test.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Final

from processor.codec.avro import AMOUNTS, EVENT, FACT, ITEM_FIELDS, PLAIN_FIELDS, newest_headers, newest_schemas
from processor.codec.varints import LENGTHS
from processor.domain.records import Item, Order

TARGET: Final = Path(__file__).parents[2] / "processor" / "codec" / "generated.py"
FIELDS: Final = {
    "OrderFact": PLAIN_FIELDS | AMOUNTS | {"items": "items"},
    "OrderItem": ITEM_FIELDS | {"cost": "cost"},
}
STRUCTS: Final = {"OrderFact": Order, "OrderItem": Item}
HEAD: Final = '''"""Made from the newest schemas by deploy/build/codegen.py; change that and run `make codec`, not this.

Long on purpose: a call for each value would cost more than reading it.
"""

from typing import Any, Final

from msgspec.structs import astuple

from processor.codec.varints import (
    LENGTHS,
    SOME_LENGTHS,
    UnusualAvro,
    amount_bytes,
    double_at,
    double_bytes,
    length_at,
    long_at,
    long_bytes,
)
from processor.domain.records import MAX_ELEMENTS, Event, Item, Order, PlainItems

EVENT_HEADER: Final = {event_header!r}
FACT_HEADER: Final = {fact_header!r}
_ONE: Final = SOME_LENGTHS[1]
_FOUR: Final = SOME_LENGTHS[4]
'''


class Code:
    """Lines of one function, indented as they are added, and names that occur once."""

    def __init__(self, *head: str) -> None:
        self.lines = ["", "", *head]
        self._depth = 1
        self._names = 0

    def add(self, *lines: str) -> None:
        """Add lines at the present depth."""
        self.lines += ["    " * self._depth + line for line in lines]

    def within(self) -> "Code":
        """Go one level deeper, for a `with`."""
        return self

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1

    def name(self, prefix: str) -> str:
        """Return a new variable."""
        self._names += 1
        return f"{prefix}{self._names}"


class Reading:
    """Writes code that reads values from `b` at `p` on."""

    def __init__(self, code: Code, *, bounded: bool) -> None:
        self._code = code
        self._named: dict[str, Any] = {}
        self._bounded = bounded  # whether the number of elements is limited
        if bounded:
            code.add("left = MAX_ELEMENTS")

    def value(self, schema: Any, target: str) -> None:
        """Add code that reads a value of the schema into a variable."""
        kind = kind_of(schema)
        if isinstance(schema, list):
            self._union(schema, target)
        elif kind in self._named:
            self.value(self._named[kind], target)
        else:
            getattr(self, f"_{kind}")(schema, target)

    def _null(self, _schema: Any, target: str) -> None:
        self._code.add(f"{target} = None")

    def _boolean(self, _schema: Any, target: str) -> None:
        self._code.add("if b[p] > 1:", "    raise UnusualAvro", f"{target} = b[p] == 1", "p += 1")

    def _long(self, _schema: Any, target: str) -> None:
        self._code.add(f"{target}, p = long_at(b, p)")

    def _int(self, _schema: Any, target: str) -> None:
        self._code.add(f"{target}, p = long_at(b, p)")
        self._code.add(f"if not -2147483648 <= {target} <= 2147483647:", "    raise UnusualAvro")

    def _double(self, _schema: Any, target: str) -> None:
        self._code.add(f"{target} = double_at(b, p)[0]", "p += 8")

    def _length(self, target: str) -> None:
        self._code.add(f"{target} = b[p]", f"if {target} & 129:", f"    {target}, p = length_at(b, p)")
        self._code.add("else:", f"    {target} >>= 1", "    p += 1")

    def _string(self, _schema: Any, target: str) -> None:
        self._code.add("n = b[p]", "if n & 129:", "    n, p = length_at(b, p)", "    q = p + n")
        self._code.add("else:", "    p += 1", "    q = p + (n >> 1)")
        self._code.add(f"{target} = b[p:q].decode()", "p = q")

    def _bytes(self, schema: Any, target: str) -> None:
        if not isinstance(schema, dict) or schema.get("logicalType") != "decimal":
            raise ValueError("bytes that are not a decimal")
        self._length("n")
        self._code.add(f'{target} = int.from_bytes(b[p : p + n], "big", signed=True)', "p += n")

    def _enum(self, schema: Any, target: str) -> None:
        self._code.add("if b[p] & 129:", "    raise UnusualAvro")
        self._code.add(f"{target} = {tuple(schema['symbols'])!r}[b[p] >> 1]", "p += 1")

    def _union(self, branches: list[Any], target: str) -> None:
        if len(branches) > 2:
            self._code.add(f"{target}: Any")
        self._code.add("k = b[p]", "p += 1")
        word = "if"
        # The most frequent branch first: strings.
        for index in sorted(range(len(branches)), key=lambda i: kind_of(branches[i]) != "string"):
            self._code.add(f"{word} k == {index * 2}:")
            with self._code.within():
                self.value(branches[index], target)
            word = "elif"
        self._code.add("else:", "    raise UnusualAvro")

    def _blocks(self, read_element: Any, total: str = "") -> None:
        count = self._code.name("count")
        self._length(count)
        self._code.add(f"while {count}:")
        with self._code.within():
            if total:
                self._code.add(f"{total} += {count}")
            if self._bounded:
                self._code.add(f"left -= {count}", "if left < 0:", "    raise UnusualAvro")
            self._code.add(f"for _ in range({count}):")
            with self._code.within():
                read_element()
            self._length(count)

    def _array(self, schema: Any, target: str) -> None:
        if isinstance(schema["items"], dict) and schema["items"].get("name") == "Param":
            self._params(schema["items"], target)
            return
        elements, element = self._code.name("array"), self._code.name("element")
        self._code.add(f"{elements}: list[Any] = []")

        def read() -> None:
            self.value(schema["items"], element)
            self._code.add(f"{elements}.append({element})")

        self._blocks(read)
        self._code.add(f"{target} = {elements}")

    def _params(self, schema: Any, target: str) -> None:
        """Read the parameters into a map by name; a name that occurs twice is unusual."""
        name, value = (field["type"] for field in schema["fields"])
        self._code.add(f"{target}: dict[str, Any] = {{}}", "total = 0")

        def read() -> None:
            self.value(name, "name")
            self.value(value, "value")
            self._code.add(f"{target}[name] = value")

        self._blocks(read, "total")
        self._code.add(f"if len({target}) != total:", "    raise UnusualAvro")

    def _map(self, schema: Any, target: str) -> None:
        pairs, name, value = self._code.name("map"), self._code.name("name"), self._code.name("value")
        self._code.add(f"{pairs}: dict[str, Any] = {{}}")

        def read() -> None:
            self._string(None, name)
            self.value(schema["values"], value)
            self._code.add(f"{pairs}[{name}] = {value}")

        self._blocks(read)
        self._code.add(f"{target} = {pairs}")

    def _record(self, schema: Any, target: str) -> None:
        self._named[schema["name"]] = schema
        fields = {field["name"]: self._code.name("field") for field in schema["fields"]}
        for field in schema["fields"]:
            self.value(field["type"], fields[field["name"]])
        self._code.add(f"{target} = {_made(schema['name'], fields)}")


def _made(name: str, variables: dict[str, str]) -> str:
    """Return the expression that turns a record into what the domain takes."""
    if name not in STRUCTS:
        made = ", ".join(variables.values())
        return f"Event({made})" if name == "OrderEvent" else f"({made})"
    by_field = {FIELDS[name][avro]: variable for avro, variable in variables.items()}
    arguments = [by_field[field] for field in STRUCTS[name].__struct_fields__]
    if "items" in variables:
        arguments[STRUCTS[name].__struct_fields__.index("items")] = f"PlainItems(tuple({variables['items']}))"
    return f"{STRUCTS[name].__name__}({', '.join(arguments)})"


class Writing:
    """Writes expressions that give a value's bytes."""

    def __init__(self) -> None:
        self.functions: list[str] = []
        self._named: dict[str, Any] = {}

    def value(self, schema: Any, source: str) -> str:
        """Return the expression for a value of the schema that a variable holds."""
        if isinstance(schema, list):
            return self._optional(schema, source)
        kind = kind_of(schema)
        match kind:
            case "string":
                return f"LENGTHS[len(r := {source}.encode())], r"
            case "bytes":
                return f"amount_bytes({source})"
            case "int" | "long":
                plainly = f"long_bytes({source})"
                is_small = f"0 <= {source} < {len(LENGTHS)}"  # most ints are
                return plainly if kind == "long" else f"LENGTHS[{source}] if {is_small} else {plainly}"
            case "double":
                return f"double_bytes({source})"
            case "enum":
                symbols = {symbol: bytes([index * 2]) for index, symbol in enumerate(schema["symbols"])}
                self.functions[:0] = ["", f"_{schema['name']}: Final = {symbols!r}"]
                return f"_{schema['name']}[{source}]"
            case "map":
                self._map(schema)
                return f"map_bytes({source}) if {source} else b'\\0'"
            case "array":
                self.record(schema["items"], "item_bytes", "item: Item")
                code = Code("def packed_items(items: tuple[Item, ...]) -> bytes:")
                code.add('"""Write the items of an OrderFact. Raises IndexError where a text is longer than usual."""')
                code.add("items_bytes = b''.join([item_bytes(item) for item in items])")
                code.add("return LENGTHS[len(items)] + items_bytes + b'\\0' if items else b'\\0'")
                self.functions += code.lines
                return f"{source} if isinstance({source}, bytes) else packed_items({source}.lines)"
            case _:
                raise ValueError(f"type {kind!r} is not written here")

    def _longs(self, sources: list[str]) -> Iterator[str]:
        """Write adjacent longs; encode a value that equals the one before it, as times often do, only once."""
        yield f"(n := long_bytes({sources[0]}))"
        for before, source in pairwise(sources[:-1]):
            yield f"n if {source} == {before} else (n := long_bytes({source}))"
        yield f"n if {sources[-1]} == {sources[-2]} else long_bytes({sources[-1]})"

    def _optional(self, branches: list[Any], source: str) -> str:
        match [kind_of(branch) for branch in branches]:
            case ["null", "string"]:
                return f"b'\\0' if {source} is None else _ONE[len(r := {source}.encode())] + r"
            case ["null", "bytes"]:
                return f"b'\\0' if {source} is None else b'\\2' + amount_bytes({source})"
            case other:
                raise ValueError(f"union {other} is not written here")

    def record(self, schema: Any, function: str, parameter: str, head: str = "") -> None:
        """Add the function that gives a record's bytes."""
        name, fields = schema["name"], {field["name"]: field["type"] for field in schema["fields"]}
        source = parameter.split(":", maxsplit=1)[0]
        code = Code(f"def {function}({parameter}) -> bytes:")
        code.add(f'"""Write one {name}. Raises IndexError where a text is longer than usual."""')
        names = [f"{field}_" for field in STRUCTS[name].__struct_fields__]
        code.add(f"({', '.join(names)}) = astuple({source})")
        code.add("return b''.join(", "    (", *([f"        {head},"] if head else []))
        for kind, run in groupby(fields, key=lambda avro: kind_of(fields[avro])):
            sources = {avro: FIELDS[name][avro] + "_" for avro in run}
            if kind == "long" and len(sources) > 1:
                written = self._longs(list(sources.values()))
            else:
                written = (self.value(fields[avro], source) for avro, source in sources.items())
            for expression in written:
                code.add(f"        {expression},")
        code.add("    )", ")")
        self.functions += code.lines

    def _map(self, schema: Any) -> None:
        kinds = [kind_of(branch) for branch in schema["values"]]
        if "map_bytes" in self._named:
            return
        self._named["map_bytes"] = schema
        if kinds.index("string") != 4:
            raise ValueError("a map of other scalars is not written here")
        code = Code("def map_bytes(scalars: dict[str, Any]) -> bytes:")
        code.add('"""Write a map that is not empty."""', "parts = [LENGTHS[len(scalars)]]", "add = parts.append")
        code.add("for name, value in scalars.items():")
        with code.within():
            code.add("raw = name.encode()", "add(LENGTHS[len(raw)])", "add(raw)", "kind = value.__class__")
            code.add("if kind is str:", "    raw = value.encode()", "    add(_FOUR[len(raw)])", "    add(raw)")
            for word, kind, written in (
                ("elif", "boolean", "b'\\1' if value else b'\\0'"),
                ("elif", "long", "long_bytes(value)"),
                ("elif", "double", "double_bytes(value)"),
            ):
                python = {"boolean": "bool", "long": "int", "double": "float"}[kind]
                prefix = bytes([kinds.index(kind) * 2])
                code.add(f"{word} kind is {python}:", f"    add({prefix!r})", f"    add({written})")
            code.add("else:", "    raise IndexError(kind)")
        code.add("add(b'\\0')", "return b''.join(parts)")
        self.functions += code.lines


def kind_of(schema: Any) -> str:
    """Return the name of a schema's type."""
    if isinstance(schema, list):
        return "union"
    return str(schema["type"] if isinstance(schema, dict) else schema)


def reader(schema: Any, function: str, result: str, what: str) -> list[str]:
    """Return the function that reads a value."""
    code = Code(f"def {function}(b: bytes, p: int) -> tuple[{result}, int]:")
    code.add(f'"""Read {what} at a position; return it and the position after it.')
    code.add(
        "", "Raises ValueError, IndexError or struct.error at anything unusual. A length beyond the end shows as a"
    )
    code.add("position beyond the end.", '"""')
    Reading(code, bounded=result == "Event").value(schema, "record")
    code.add("return record, p")
    return code.lines


def source() -> str:
    """Return the module's text."""
    schemas, headers = newest_schemas(), newest_headers()
    lines = HEAD.format(event_header=headers[EVENT], fact_header=headers[FACT]).splitlines()
    writing = Writing()
    writing.record(schemas[FACT], "fact_bytes", "order: Order", "FACT_HEADER")
    (items,) = (field["type"] for field in schemas[FACT]["fields"] if field["name"] == "items")
    lines += reader(schemas[EVENT], "event_at", "Event", "one OrderEvent")
    lines += reader(items, "items_at", "list[Item]", "the items of an OrderFact")
    lines += reader(schemas[FACT], "fact_at", "Order", "one OrderFact")
    text = "\n".join(lines + writing.functions) + "\n"
    command = (sys.executable, "-m", "ruff", "format", "--stdin-filename", str(TARGET), "-")
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    """Write the module, or with --check compare it with the schemas."""
    parser = argparse.ArgumentParser(description="Write the codec of the newest schemas.")
    parser.add_argument("--check", action="store_true", help="only compare; exit with 1 if it differs")
    if not parser.parse_args().check:
        TARGET.write_text(source(), encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != source():
        sys.exit(f"{TARGET.name} differs from what the schemas give: run `make codec`")


if __name__ == "__main__":
    main()
