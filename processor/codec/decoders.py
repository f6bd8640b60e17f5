"""Decoders made from schemas: for one writer's schema, a function that reads its values as the reader wants them.

Each is written as Python, with every length, index and number read in place, since nothing of a schema is left to look
up then: a third of the time of fastavro's C. It is total: any bytes give a value or an UndecodableError that says what
is wrong. It is strict: fastavro accepts union and enum indexes out of range, any boolean byte and lengths that lie, and
a producer's bug would turn into a wrong fact. Numbers longer than need be and blocks with sizes are right.

The common forms are read in place: what takes one byte. The functions of `varints` do the rest. A length that leads
beyond the end is not checked in place: whatever is read next fails there, or the end is not that of the bytes.

The writer's schema is resolved to the reader's by Avro's rules, when the decoder is made: fields by name, defaults for
what the writer lacks, numbers widened; what the reader lacks is read, checked and dropped. What a value may cost is
bounded by its size: recursive types and elements of no bytes are refused, and no block claims more elements than bytes
are left.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import fastavro
import msgspec

from processor.codec import varints
from processor.codec.fields import STRUCTS, fields_of
from processor.codec.resolution import (
    CONVERTED,
    WRITTEN,
    MismatchError,
    default,
    is_decimal,
    last_name,
    matching,
    named,
)
from processor.codec.source import Source, kind_of
from processor.domain.records import Event, Item, Order, PlainItems

Decoder = Callable[[bytes, int], Any]
"""Reads the value that begins at a position and ends with the bytes. Raises UndecodableError."""

_LENGTH: Final = ("n = b[p]", "if n & 129:", "    n, p = length_at(b, p)")
_LINES: Final = {
    "null": ("{0} = None",),
    "boolean": (
        *("if b[p] > 1:", "    raise UndecodableError('a boolean is neither 0 nor 1')"),
        *("{0} = b[p] == 1", "p += 1"),
    ),
    "int": ("{0} = b[p]", "if {0} & 129:", "    {0}, p = int_at(b, p)", "else:", "    {0} >>= 1", "    p += 1"),
    "long": ("{0}, p = long_at(b, p)",),
    "float": ("{0} = float_at(b, p)[0]", "p += 4"),
    "double": ("{0} = double_at(b, p)[0]", "p += 8"),
    "string": (
        *(*_LENGTH, "    q = p + n", "else:", "    p += 1", "    q = p + (n >> 1)"),
        *("{0} = b[p:q].decode()", "p = q"),
    ),
}
"""What reads a value of each of these types into a variable, {0}."""
_MOST_VALUES: Final = 2_000  # of a schema, a type counted in each place where it is used


class Shape(NamedTuple):
    """What a decoder gives: `structs` for the records that are named there, dictionaries for others.

    A decimal is its bytes, its units, or the number; all else stays raw: a timestamp is its ms. The parameters of an
    event are a map by name; there is None instead of the event if a name occurs twice.
    """

    result: str
    given: str  # of the value that was read
    structs: Mapping[str, type[msgspec.Struct]]
    decimal: str  # of the n bytes at p and its scale: {0}
    is_bounded: bool  # in how many elements its arrays and maps may have together


_RAW: Final = "b[p : p + n]"
_UNITS: Final = 'int.from_bytes(b[p : p + n], "big", signed=True)'
_NUMBER: Final = "decimal_of(b[p : p + n], {0})"
AS_EVENT: Final = Shape("Event | None", "value", STRUCTS, _NUMBER, is_bounded=True)
AS_ORDER: Final = Shape("Order", "value", STRUCTS, _UNITS, is_bounded=False)
AS_ITEMS: Final = Shape("tuple[Item, ...]", "tuple(value)", STRUCTS, _UNITS, is_bounded=False)
AS_DICTIONARY: Final = Shape("object", "value", {}, _RAW, is_bounded=False)
AS_PLAIN_EVENT: Final = Shape("object", "value", {}, _NUMBER, is_bounded=True)


def compile_decoder(writer: Any, reader: Any, shape: Shape) -> Decoder:
    """Return the decoder of a writer's schema; both are given as their JSON text gives them.

    Raises ValueError where the writer's is no schema, too large, nested too deep, or not what the reader wants.
    """
    names: dict[str, Any] = vars(varints) | {kind.__name__: kind for kind in (Event, Order, Item, PlainItems)}
    try:
        exec("\n".join(decoder_source("decode", writer, reader, shape)), names)  # noqa: S102 - names and numbers only
    except (SyntaxError, RecursionError, fastavro.schema.SchemaParseException) as error:
        raise ValueError(f"not a schema that is read here: {error}") from error
    decoder: Decoder = names["decode"]
    return decoder


def decoder_source(function: str, writer: Any, reader: Any, shape: Shape) -> list[str]:
    """Return the lines of a decoder. Raises as `compile_decoder`."""
    source = Source(f"def {function}(b: bytes, p: int) -> {shape.result}:")
    source.add('"""Read the value from a position to the end. Raises UndecodableError."""')
    source.add("q = 0", *(["left = MAX_ELEMENTS"] if shape.is_bounded else []), "try:")
    with source.deeper():
        _Reading(source, shape).whole(writer, reader, "value")
    source.add("except (IndexError, UnicodeDecodeError, struct.error) as error:")
    source.add("    raise malformed(b, max(p, q), error) from error")
    source.add("if p != len(b):", "    raise malformed(b, p)", f"return {shape.given}")
    return source.lines


class _Reading:
    """Writes code that reads values from `b` at `p` on; `q` is where a string ends, `left` how many elements may come.

    A reader's schema of None drops the value, once it is read.
    """

    def __init__(self, source: Source, shape: Shape) -> None:
        self._source = source
        self._add = source.add
        self._shape = shape
        self._writers: dict[str, Any] = {}
        self._readers: dict[str, Any] = {}
        self._open: set[str] = set()  # the records that hold what is being read
        self._values = 0

    def whole(self, writer: Any, reader: Any, target: str) -> None:
        """Add code that reads the whole value into a variable."""
        writer = fastavro.parse_schema(writer, named_schemas=self._writers)
        self._value(writer, fastavro.parse_schema(reader, named_schemas=self._readers), target)

    def _value(self, writer: Any, reader: Any, target: str) -> None:
        """Add code that reads a value of the writer's schema into a variable, as the reader's has it."""
        self._note_more()
        writer = named(writer, self._writers)
        kind = kind_of(writer)
        if kind not in WRITTEN:
            raise ValueError(f"type {kind!r} is not one that is read here")
        if kind != "union" and reader is not None:
            reader = matching(writer, reader, self._readers)
        if kind in _LINES:
            self._plain(kind, target)
        else:
            getattr(self, f"_{kind}")(writer, reader, target)
        if converted := CONVERTED.get((kind, kind_of(reader))):
            self._add(f"{target} = {converted.format(target)}")

    def _note_more(self, count: int = 1) -> None:
        self._values += count
        if self._values > _MOST_VALUES:
            raise ValueError("the schema is too large")

    def _plain(self, kind: str, target: str) -> None:
        self._add(*(line.format(target) for line in _LINES[kind]))

    def _bytes(self, writer: Any, reader: Any, target: str) -> None:
        self._add(*_LENGTH, "else:", "    n >>= 1", "    p += 1")
        if is_decimal(reader):
            scale = int(reader.get("scale", 0))
            if is_decimal(writer) and int(writer.get("scale", 0)) != scale:
                raise MismatchError(f"a decimal of scale {writer.get('scale', 0)} is not one of scale {scale}")
            self._add(f"{target} = {self._shape.decimal.format(scale)}")
        else:
            self._add(f"{target} = {_RAW}")
        self._add("p += n")

    def _fixed(self, writer: Any, _reader: Any, target: str) -> None:
        size = _size(writer)
        self._add(f"{target} = b[p : p + {size}]", f"p += {size}")

    def _enum(self, writer: Any, reader: Any, target: str) -> None:
        symbols, given = writer["symbols"], tuple[str | None, ...]()
        if reader is not None:
            self._note_more(len(symbols))  # each use names them all
            given = tuple(symbol if symbol in reader["symbols"] else reader.get("default") for symbol in symbols)
        self._add("k = b[p]", "p += 1", f"if k & 1 or k > {min(len(symbols) * 2 - 2, 126)}:")
        self._add(f'    k, p = index_at(b, p - 1, {len(symbols)}, "an enum\'s")')
        self._add(f"{target} = {given!r}[k >> 1]" if given else f"{target} = None")
        if None in given:
            self._add(f"if {target} is None:", "    raise UndecodableError('an enum\\'s symbol is not known here')")

    def _union(self, branches: list[Any], reader: Any, target: str) -> None:
        if len(branches) > 2:
            self._add(f"{target}: Any")
        self._add("k = b[p]", "p += 1", "while True:")
        with self._source.deeper():
            word = "if"
            # the most frequent first: text
            for index in sorted(range(len(branches)), key=lambda i: kind_of(branches[i]) != "string"):
                self._add(f"{word} k == {index * 2}:")
                with self._source.deeper():
                    self._branch(branches[index], reader, target)
                word = "elif"
            self._add("else:", f'    k, p = index_at(b, p - 1, {len(branches)}, "a union\'s")', "    continue", "break")

    def _branch(self, branch: Any, reader: Any, target: str) -> None:
        """Add code that reads a union's value of one branch; one that the reader lacks is refused where it comes."""
        begin = len(self._source.lines)
        try:
            self._value(branch, reader, target)
        except MismatchError:
            del self._source.lines[begin:]
            self._add("raise UndecodableError('a value of a type that is not known here')")

    def _count(self, target: str, end: str) -> None:
        self._add(f"{target} = b[p]", f"if {target} & 129:", f"    {target}, p, {end} = block_at(b, p)")
        self._add("else:", f"    {target} >>= 1", "    p += 1")

    @contextmanager
    def _blocks(self, total: str = "") -> Iterator[None]:
        """Add code that goes through blocks; the code that is added meanwhile reads an element."""
        count, end = self._source.name("count"), self._source.name("end")
        self._add(f"{end}: int | None = None")
        self._count(count, end)
        self._add(f"while {count}:")
        with self._source.deeper():
            if total:
                self._add(f"{total} += {count}")
            if self._shape.is_bounded:
                self._add(f"left -= {count}", "if left < 0:", "    raise too_many_elements()")
            self._add(f"for _ in range({count}):")
            with self._source.deeper():
                yield
            self._add(f"if {end} is not None:", f"    require_end({end}, p)", f"    {end} = None")
            self._count(count, end)

    def _array(self, writer: Any, reader: Any, target: str) -> None:
        if not self._takes_bytes(writer["items"]):
            raise ValueError("elements of no bytes")  # they bound what a block may cost
        wanted = None if reader is None else named(reader["items"], self._readers)
        items = named(writer["items"], self._writers)
        if self._shape.structs and kind_of(wanted) == "record" and last_name(wanted) == "Param":
            # the parameters: a map by name, and how many they are
            self._add(f"{target}: dict[str, Any] = {{}}", "total = 0")
            with self._blocks("total"):
                fields = self._fields(items, matching(items, wanted, self._readers))
                self._add(f"{target}[{fields['name']}] = {fields['value']}")
            return
        elements, element = self._source.name("array"), self._source.name("element")
        self._add(f"{elements}: list[Any] = []")
        with self._blocks():
            self._value(items, wanted, element)
            self._add(f"{elements}.append({element})")
        self._add(f"{target} = {elements}")

    def _map(self, writer: Any, reader: Any, target: str) -> None:
        pairs, name, value = self._source.name("map"), self._source.name("name"), self._source.name("value")
        self._add(f"{pairs}: dict[str, Any] = {{}}")
        with self._blocks():
            self._plain("string", name)
            self._value(writer["values"], None if reader is None else reader["values"], value)
            self._add(f"{pairs}[{name}] = {value}")
        self._add(f"{target} = {pairs}")

    def _record(self, writer: Any, reader: Any, target: str) -> None:
        fields = self._fields(writer, reader)
        self._add(f"{target} = {'None' if reader is None else self._made(last_name(reader), fields)}")

    def _fields(self, writer: Any, reader: Any) -> dict[str, str]:
        """Add code that reads a record's fields; return the reader's, by their names, as variables or literals."""
        if writer["name"] in self._open:
            raise ValueError(f"type {writer['name']!r} is recursive")
        wanted = [] if reader is None else reader["fields"]
        given = {}
        self._open.add(writer["name"])
        try:
            for field in writer["fields"]:
                same = [one for one in wanted if field["name"] in (one["name"], *one.get("aliases", ()))]
                variable = self._source.name("field")
                self._value(field["type"], same[0]["type"] if same else None, variable)
                given.update({one["name"]: variable for one in same})
        finally:
            self._open.discard(writer["name"])
        return {field["name"]: given.get(field["name"]) or default(field) for field in wanted}

    def _made(self, name: str, fields: Mapping[str, str]) -> str:
        """Return the expression that makes a record of its fields."""
        if name not in self._shape.structs:
            return "{" + ", ".join(f"{field!r}: {variable}" for field, variable in fields.items()) + "}"
        struct = self._shape.structs[name]
        names = list(fields_of(struct))
        given = [name for name in names if name in fields]
        if given != names[: max(len(given), len(names) - len(struct.__struct_defaults__))]:
            raise MismatchError(f"{name} lacks {', '.join(sorted({*names} - {*given}))}")
        values = ", ".join(f"PlainItems(tuple({fields[one]}))" if one == "items" else fields[one] for one in given)
        made = f"{struct.__name__}({values})"
        return f"{made} if len({fields['params']}) == total else None" if struct is Event else made

    def _takes_bytes(self, schema: Any) -> bool:
        self._note_more()
        schema = named(schema, self._writers)
        match kind_of(schema):
            case "null":
                return False
            case "fixed":
                return _size(schema) > 0
            case "record":
                return any(self._takes_bytes(field["type"]) for field in schema["fields"])
            case _:
                return True


def _size(fixed: Any) -> int:
    """Return the size of a fixed type, which fastavro does not look at. Raises ValueError for none: below 0 is back."""
    size = fixed["size"]
    if type(size) is not int or size < 0:
        raise ValueError(f"a fixed of size {size}")
    return size
