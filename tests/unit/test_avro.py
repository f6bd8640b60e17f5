"""The strict Avro decoder: what fastavro reads it reads alike, and what no writer makes it refuses."""

import decimal
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.codec.avro import Codec, codec
from processor.codec.decoders import AS_DICTIONARY, compile_decoder
from processor.domain.records import MAX_ELEMENTS, UndecodableError
from tests.support import strict_avro
from tests.support.avro_writer import block, cuts, text, values, varint, write
from tests.support.events import exact
from tests.support.facts import raw_schema, with_decimal
from tests.support.hostile import examples
from tests.support.schemas import SCHEMAS, copy_schemas

OLDER_EVENT = Path(__file__).parents[1] / "data" / "schemas" / "order-event.0.avsc"
EVENTS, FACTS = ("order-event.1", "order-event.2"), ("order-fact.1", "order-fact.2")
SUBJECTS = (*EVENTS, "contact.1", *FACTS)
SCHEMA = {subject: json.loads((SCHEMAS / f"{subject}.avsc").read_text(encoding="utf-8")) for subject in SUBJECTS}
RAW = {subject: raw_schema(*subject.split(".")) for subject in SUBJECTS}
OLDER = json.loads(OLDER_EVENT.read_text(encoding="utf-8"))
DECODE: dict[str, Callable[[bytes], Any]] = {
    **dict.fromkeys(EVENTS, codec().decode_event),
    "contact.1": codec().decode_contact,
    **dict.fromkeys(FACTS, codec().decode_fact),
}
ENCODE: dict[str, Callable[[Any], bytes]] = {
    **dict.fromkeys(EVENTS, codec().encode_event),
    "contact.1": codec().encode_contact,
    "order-fact.1": codec().fact_encoders[1],
    "order-fact.2": codec().fact_encoders[2],
}
RAW_DECODE = {subject: compile_decoder(schema, schema, AS_DICTIONARY) for subject, schema in SCHEMA.items()}
STRICT = {
    subject: strict_avro.compile_decoder(schema, MAX_ELEMENTS if subject in EVENTS else None)
    for subject, schema in SCHEMA.items()
}
HEADER = {
    "order-event.1": bytes.fromhex("c301b4a67650bd41902c"),
    "order-event.2": bytes.fromhex("c301727ffd519609b37c"),
    "contact.1": bytes.fromhex("c301859f5ef61f7addb3"),
    "order-fact.1": bytes.fromhex("c3014745bd1babb20ec1"),
    "order-fact.2": bytes.fromhex("c301a07bbeed9a297184"),
}
NEWEST = {subject: max(other for other in SUBJECTS if other[:-1] == subject[:-1]) for subject in SUBJECTS}
ENVELOPE = text("orderCreated") + text("")  # an event up to its params


@pytest.fixture(scope="module")
def both_versions(tmp_path_factory):
    """Give a codec that knows an older version of OrderEvent beside the newest."""
    folder = tmp_path_factory.mktemp("schemas")
    copy_schemas(folder, OLDER_EVENT)
    return Codec(folder)


def older_header():
    """Give the header of the older version's records."""
    canonical = fastavro.schema.to_parsing_canonical_form(fastavro.parse_schema(OLDER))
    return b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


@st.composite
def written(draw, subjects=SUBJECTS):
    """Draw a subject, a value of its schema, and the value's record in blocks of any cut."""
    subject = draw(st.sampled_from(subjects))
    value = draw(values(SCHEMA[subject]))
    return subject, value, HEADER[subject] + write(SCHEMA[subject], value, draw(cuts()))


def event_with(value):
    """Write an event of version 1 with one parameter `p` whose value is already written."""
    return HEADER["order-event.1"] + ENVELOPE + block([text("p") + value]) + b"\0"


def fact_example():
    """Give a whole fact as raw values, with one item."""
    names = [field["name"] for field in SCHEMA["order-fact.1"]["fields"]]
    times = {"date": 5, "createdAt": 1, "updatedAt": 2, "statusChangedAt": 3, "sourceOffset": 4}
    ids = {"externalOrderId": "o-1", "contactId": "c-1", "identifiedBy": "email", "eventTypeKey": "orderCreated"}
    plain = {"status": "CANCELLED", "totalCost": b"\x01", "custom": {"a": 1}, "revision": 1, "sourcePartition": 0}
    texts = dict.fromkeys(("name", "category", "url", "imageUrl", "description"), "text")
    item = {"externalItemId": "i-1", **texts, "quantity": 2.0, "cost": b"\x05", "custom": {"b": True, "c": 1.5}}
    return {**dict.fromkeys(names), **ids, **times, **plain, "items": [item], "currency": "UAH"}


def event_example(*values):
    """Give an event with these values, and one of each type that all versions have."""
    of_all = (None, "text", True, -(1 << 63), 1.5, [{"x": 1, "y": "z"}, {}])
    params = [{"name": name, "value": value} for name, value in zip("abcdefghijk", of_all + values, strict=False)]
    return {"eventTypeKey": "orderCreated", "keyValue": "ключ", "params": params}


EXAMPLES = {
    "order-event.1": event_example(),
    "order-event.2": event_example(b"\x01\xe2\x40", {"x": 1, "y": None}, ["a", None, True, 7, 2.5, {"z": "b"}]),
    "contact.1": {
        **dict.fromkeys(("externalCustomerId", "email", "phone", "contactKey"), "text"),
        "contactId": "c-1",
        "pushTokens": ["t-1", "t-2"],
        "fields": {"a": "b"},
    },
    "order-fact.1": fact_example(),
    "order-fact.2": fact_example() | {"occurredAt": 1 << 40},
}


@examples(200)
@given(record=written())
def test_values_are_those_of_fastavro(record):
    """For all three schemas, in one block, several or sized ones: the same values, types, bits and order."""
    subject, value, encoded = record
    body = encoded[10:]
    decoded = RAW_DECODE[subject](body, 0)
    assert exact(decoded) == exact(value) == exact(raw_judged(subject, encoded))
    by_fastavro = fastavro.schemaless_reader(io.BytesIO(body), RAW[subject], None)
    assert exact(decoded) == exact(by_fastavro)
    assert repr(decoded) == repr(by_fastavro)  # the order of names too


@examples(100)
@given(record=written(subjects=("order-event.1", "order-fact.1")))
def test_a_version_is_read_as_fastavro_resolves_it_to_the_newest(record):
    """What the older version lacks takes its default, and what it has is the same in the newer one."""
    subject, _, encoded = record
    newest = NEWEST[subject]
    expected = fastavro.schemaless_reader(io.BytesIO(encoded[10:]), RAW[subject], RAW[newest])
    found = compile_decoder(SCHEMA[subject], SCHEMA[newest], AS_DICTIONARY)(encoded, 10)
    assert exact(found) == exact(expected)
    assert found.get("occurredAt") is None


NUMBERS = (0, 1, -1, 10**17, -(10**18) + 1, 10**18, 2**87, -(2**88), 2**95, 10**30, -(10**3000), 2 ** (8 * 20_000) - 1)


@pytest.mark.parametrize("unscaled", NUMBERS, ids=lambda number: f"{number.bit_length()} bits")
@pytest.mark.parametrize("more", [0, 3, 30])
def test_a_decimal_is_its_number_whatever_its_size(unscaled, more):
    """Exactly, with four places, also one of more than 18 digits, or written longer than need be."""
    raw = unscaled.to_bytes(unscaled.bit_length() // 8 + 1 + more, "big", signed=True)
    event = {"eventTypeKey": "orderCreated", "keyValue": "", "params": [{"name": "a", "value": raw}]}
    encoded = HEADER["order-event.2"] + write(SCHEMA["order-event.2"], event)
    exact_context = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
    for found in (codec().read_event(encoded).params["a"], codec().decode_event(encoded)["params"][0]["value"]):
        assert type(found) is decimal.Decimal
        assert found.as_tuple().exponent == -4
        assert exact_context.scaleb(found, 4) == decimal.Decimal(unscaled)


def test_a_decimal_of_no_bytes_is_refused():
    """Nothing says that it would be 0."""
    event = {"eventTypeKey": "orderCreated", "keyValue": "", "params": [{"name": "a", "value": b""}]}
    encoded = HEADER["order-event.2"] + write(SCHEMA["order-event.2"], event)
    for read in (codec().read_event, codec().decode_event):
        with pytest.raises(UndecodableError, match="a decimal has no bytes"):
            read(encoded)


@examples(100)
@given(record=written(subjects=(*EVENTS, "contact.1")))
def test_what_is_decoded_encodes_to_the_same_value(record):
    """The codec's own bytes are read as the value they were made of, and fastavro reads them as well."""
    subject, value, encoded = record
    decoded = DECODE[subject](encoded)
    again = ENCODE[subject](decoded)
    assert again.startswith(HEADER[NEWEST[subject]])
    assert exact(DECODE[subject](again)) == exact(decoded) == exact(with_numbers(subject, value))


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_record_cut_anywhere_is_refused(subject):
    """Truncation at every byte, in the header or behind it, is undecodable; and so is anything left over."""
    whole = HEADER[subject] + write(SCHEMA[subject], EXAMPLES[subject])
    DECODE[subject](whole)
    for end in range(len(whole)):
        with pytest.raises(UndecodableError):
            DECODE[subject](whole[:end])
    for more in (b"\0", b"\1", whole, b"\xff" * 100):
        with pytest.raises(UndecodableError, match="left over"):
            DECODE[subject](whole + more)


@examples(150)
@given(record=written(), data=st.data())
def test_a_generated_record_cut_anywhere_is_refused(record, data):
    """As above, for records in blocks of any cut."""
    subject, _, encoded = record
    end = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(UndecodableError):
        DECODE[subject](encoded[:end])


INDEXES = (-1, -2, -(1 << 63), (1 << 31) - 1, (1 << 63) - 1)


@pytest.mark.parametrize("index", [*INDEXES, 6, 7])
def test_a_unions_index_out_of_range_is_refused(index):
    """No branch is guessed, neither above the last one nor counted from the end."""
    with pytest.raises(UndecodableError, match="union"):
        codec().decode_event(event_with(varint(index) + b"\0\0\0"))


@pytest.mark.parametrize("index", [*INDEXES, 5])
def test_a_nested_unions_index_out_of_range_is_refused(index):
    """The unions inside native items are held as strictly as those of parameters."""
    item = block([text("cost") + varint(index) + b"\0"]) + b"\0"
    with pytest.raises(UndecodableError, match="union"):
        codec().decode_event(event_with(varint(5) + block([item]) + b"\0"))


@pytest.mark.parametrize("index", [-1, -5, 5, 6, (1 << 31) - 1])
def test_an_enums_index_out_of_range_is_refused(index):
    """A status is one of the five or the fact is undecodable."""
    start = write({"type": "record", "fields": SCHEMA["order-fact.1"]["fields"][:3]}, EXAMPLES["order-fact.1"])
    rest = write({"type": "record", "fields": SCHEMA["order-fact.1"]["fields"][4:]}, EXAMPLES["order-fact.1"])
    codec().decode_fact(HEADER["order-fact.1"] + start + varint(4) + rest)
    with pytest.raises(UndecodableError, match="enum"):
        codec().decode_fact(HEADER["order-fact.1"] + start + varint(index) + rest)


def test_a_boolean_is_one_byte_of_0_or_1():
    """Every other byte is refused: fastavro would take each for true."""
    assert [codec().decode_event(event_with(varint(2) + bytes([b])))["params"][0]["value"] for b in (0, 1)] == [
        False,
        True,
    ]
    for byte in range(2, 256):
        with pytest.raises(UndecodableError, match="boolean"):
            codec().decode_event(event_with(varint(2) + bytes([byte])))


@pytest.mark.parametrize("length", [-1, -(1 << 63), 1 << 20, (1 << 63) - 1])
@pytest.mark.parametrize("place", ["eventTypeKey", "value", "map name"])
def test_a_length_that_lies_is_refused(length, place):
    """A string's length that is negative or beyond the end is refused before anything is read or reserved."""
    lie = varint(length) + b"abc"
    record = {
        "eventTypeKey": HEADER["order-event.1"] + lie,
        "value": event_with(varint(1) + lie),
        "map name": event_with(varint(5) + block([block([lie + b"\0"])])),
    }[place]
    with pytest.raises(UndecodableError, match="length"):
        codec().decode_event(record)


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (b"\x80" * 10 + b"\x01", "10 bytes"),
        (b"\xff" * 11, "10 bytes"),
        (b"\xff" * 5000, "10 bytes"),
        (varint(1 << 63), "64 bits"),
        (varint(-(1 << 63) - 1), "64 bits"),
        (varint(1 << 64), "64 bits"),
        (b"\x80" * 9 + b"\x02", "64 bits"),
        (b"\xff" * 9 + b"\x7f", "64 bits"),
        (b"\x80" * 3, "ends within"),
    ],
    ids=str,
)
def test_a_long_that_is_none_is_refused(number, problem):
    """A varint of more than 10 bytes or 64 bits is refused, not cut to what fits."""
    with pytest.raises(UndecodableError, match=problem):
        codec().decode_event(event_with(varint(3) + number))


@pytest.mark.parametrize("number", [(1 << 63) - 1, -(1 << 63), 0, -1, 63, 64, -64, -65, 1 << 31])
def test_every_long_that_is_one_is_read(number):
    """The limits of 64 bits are inside, and so is a number written longer than it need be."""
    longer = varint(number)
    while len(longer) < 10:
        longer = longer[:-1] + bytes([longer[-1] | 0x80, 0])
        value = codec().decode_event(event_with(varint(3) + longer) + b"")["params"][0]["value"]
        assert value == number
    assert codec().decode_event(event_with(varint(3) + varint(number)))["params"][0]["value"] == number


@pytest.mark.parametrize("number", [1 << 31, -(1 << 31) - 1, 1 << 62])
@pytest.mark.parametrize("name", ["revision", "sourcePartition"])
def test_an_int_beyond_32_bits_is_refused(name, number):
    """An int is 32 bits, also where its bytes could hold more."""
    for inside in ((1 << 31) - 1, -(1 << 31)):
        codec().decode_fact(HEADER["order-fact.1"] + write(SCHEMA["order-fact.1"], fact_example() | {name: inside}))
    with pytest.raises(UndecodableError, match="32 bits"):
        codec().decode_fact(HEADER["order-fact.1"] + write(SCHEMA["order-fact.1"], fact_example() | {name: number}))


@pytest.mark.parametrize("raw", [b"\xff", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\x80"])
def test_a_string_that_is_not_utf_8_is_refused(raw):
    """Surrogates, overlong forms, cut characters: no text is repaired."""
    wrong = varint(len(raw)) + raw
    for record in (
        HEADER["order-event.1"] + wrong + text("") + b"\0",
        event_with(varint(1) + wrong),
        event_with(varint(5) + block([block([wrong + b"\0"]) + b"\0"]) + b"\0"),
    ):
        with pytest.raises(UndecodableError, match="UTF-8"):
            codec().decode_event(record)


PARAM = text("p") + varint(1) + text("x")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_blocks_size_is_that_of_its_elements(count):
    """A sized block with its true size is read; with any other size it is refused."""
    elements = [text(f"p{number}") + b"\0" for number in range(count)]
    size = len(b"".join(elements))
    start = HEADER["order-event.1"] + ENVELOPE + varint(-count)
    body = b"".join(elements) + b"\0"
    assert len(codec().decode_event(start + varint(size) + body)["params"]) == count
    for lie in (-1, 0, size - 1, size + 1, 1 << 20, (1 << 63) - 1, -(1 << 63)):
        with pytest.raises(UndecodableError, match="block"):
            codec().decode_event(start + varint(lie) + body)


@pytest.mark.parametrize("count", [2, 1 << 20, (1 << 62), (1 << 63) - 1, -2, -(1 << 62), -(1 << 63)])
@pytest.mark.parametrize("place", ["params", "items", "item"])
def test_a_count_that_lies_is_refused_before_it_costs_anything(count, place):
    """No count makes the reader loop or reserve for more elements than there are bytes."""
    size = varint(len(PARAM)) if count < 0 else b""
    record = {
        "params": HEADER["order-event.1"] + ENVELOPE + varint(count) + size + PARAM + b"\0",
        "items": event_with(varint(5) + varint(count) + size + block([text("a") + b"\0"]) + b"\0"),
        "item": event_with(varint(5) + block([varint(count) + size + text("a") + b"\0"])),
    }[place]
    with pytest.raises(UndecodableError):
        codec().decode_event(record)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"", "the value is empty"),
        (b"\xc3", "not Avro single-object encoding$"),
        (
            HEADER["order-event.1"][:9],
            "not Avro .*; it looks like Avro single-object encoding that ends within its header$",
        ),
        (b"{}", "not Avro .*; it looks like JSON$"),
        (b'\xef\xbb\xbf [{"eventTypeKey"', "not Avro .*; it looks like JSON$"),
        ('"замовлення"'.encode(), "not Avro .*; it looks like JSON$"),
        ("замовлення".encode(), "not Avro .*; it looks like a text$"),
        (b"eventTypeKey;keyValue\n", "not Avro .*; it looks like a text$"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03abc", "not Avro .*; it looks like gzip$"),
        (b"\x28\xb5\x2f\xfd\x04\0abcdefgh", "not Avro .*; it looks like zstd$"),
        (b"Obj\x01\x04\x14avro.codec", "not Avro .*; it looks like an Avro file$"),
        (b"\xac\xed\0\x05sr\0abcdef", "not Avro .*; it looks like a serialized Java object$"),
        (b"\0\0\0\0\x07" + b"abcdefgh", "not Avro .*; it looks like a schema registry's framing"),
        (b"\0\0\0\0\x07", "not Avro .*; it looks like a schema registry's framing"),
        (b"\0\0\0\0", "not Avro single-object encoding$"),
        (ENVELOPE + b"\0", "not Avro .*; it looks like an Avro value without a header$"),
        (b"\xff\xfe{\0", "not Avro single-object encoding$"),
        (b"\x01\x02\x03", "not Avro single-object encoding$"),
        (b"\xc3\x02" + HEADER["order-event.1"][2:] + ENVELOPE + b"\0", "not Avro"),
        (b"\xc3\x01" + b"\0" * 8 + ENVELOPE + b"\0", "unknown schema fingerprint"),
        (b"\xc3\x01" + HEADER["order-event.1"][:1:-1] + ENVELOPE + b"\0", "unknown schema fingerprint"),
        (HEADER["contact.1"] + ENVELOPE + b"\0", "unknown schema fingerprint"),
        (HEADER["order-event.1"], "ends within an integer"),
    ],
    ids=str,
)
def test_a_header_that_is_not_the_topics_is_refused(value, problem):
    """An empty value, a short or foreign header, and another subject's fingerprint are undecodable."""
    with pytest.raises(UndecodableError, match=problem):
        codec().decode_event(value)


@examples(200)
@given(record=written(), data=st.data())
def test_mutated_bytes_are_undecodable_or_whole_values(record, data):
    """Whatever bytes change, nothing but UndecodableError comes out, and what decodes is a value of the schema."""
    subject, _, encoded = record
    mutated = data.draw(mutations(encoded))
    decoded = decoded_or_none(subject, mutated)
    if decoded is not None:
        assert repr(DECODE[subject](ENCODE[subject](decoded))) == repr(decoded)


def decoded_or_none(subject, value):
    """Decode a value, or check that its refusal is a line; the reference takes and refuses the same."""
    refusal = ""
    expected = judged(subject, value)
    try:
        decoded = DECODE[subject](value)
    except UndecodableError as error:
        refusal = str(error)
    else:
        assert expected is not None
        assert subject in FACTS or exact(decoded) == exact(expected)  # test_generated has those of a fact
        return decoded
    assert expected is None
    assert refusal
    assert refusal.isprintable()
    return None


def judged(subject, value):
    """Give what the strict reference reads from a framed value, an event's decimals as numbers; None if it refuses."""
    decoded = raw_judged(subject, value)
    return None if decoded is None else with_numbers(subject, decoded)


def with_numbers(subject, decoded):
    """Give an event's decimals as numbers, all else as it is."""
    if subject not in EVENTS:
        return decoded
    return decoded | {"params": [{**param, "value": with_decimal(param["value"])} for param in decoded["params"]]}


def raw_judged(subject, value):
    """Give what the strict reference reads from a framed value, None where it refuses it."""
    assert value.startswith(HEADER[subject])
    try:
        decoded, end = STRICT[subject](value, 10)
    except strict_avro.MalformedAvro:
        return None
    return decoded if end == len(value) else None


@st.composite
def mutations(draw, encoded):
    """Draw the bytes with a few of them changed, taken out or put in, behind the header."""
    out = bytearray(encoded)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(10, len(out)))
        change = draw(st.binary(min_size=0, max_size=3) | st.sampled_from([b"\xff" * 9 + b"\1", b"\x01", b"\x80" * 11]))
        out[place : place + draw(st.integers(0, 2))] = change
    return bytes(out)


@examples(200)
@given(tail=st.binary(max_size=60), subject=st.sampled_from(SUBJECTS))
def test_random_bytes_raise_nothing_else(tail, subject):
    """Noise behind a right header is undecodable or, by chance, a value."""
    decoded_or_none(subject, HEADER[subject] + tail)


@examples(100)
@given(value=values(OLDER), cut=cuts())
def test_an_older_writers_record_is_read_as_the_newest(both_versions, value, cut):
    """What the older version lacks takes its default, and values keep their types; the newest is read beside it."""
    resolved = both_versions.decode_event(older_header() + write(OLDER, value, cut))
    assert exact(resolved) == exact({**value, "keyValue": ""})
    newest = both_versions.encode_event(resolved)
    assert newest.startswith(HEADER["order-event.2"])
    assert exact(both_versions.decode_event(newest)) == exact(resolved)
    with pytest.raises(UndecodableError, match="unknown schema fingerprint"):
        codec().decode_event(older_header() + write(OLDER, value, cut))


@examples(200)
@given(value=values(OLDER), cut=cuts(), data=st.data())
def test_hostile_bytes_of_an_older_version_are_refused_too(both_versions, value, cut, data):
    """The older schema is read as strictly: nothing but UndecodableError, cut anywhere or changed."""
    encoded = older_header() + write(OLDER, value, cut)
    with pytest.raises(UndecodableError):
        both_versions.decode_event(encoded[: data.draw(st.integers(0, len(encoded) - 1))])
    with pytest.raises(UndecodableError, match="left over"):
        both_versions.decode_event(encoded + b"\0")
    try:
        resolved = both_versions.decode_event(data.draw(mutations(encoded)))
    except UndecodableError:
        return
    assert exact(both_versions.decode_event(both_versions.encode_event(resolved))) == exact(resolved)


def test_the_branch_that_an_older_version_lacks_is_refused_there(both_versions):
    """An index is checked against the writer's union, not against the newest one."""
    record = older_header() + text("orderCreated") + block([text("items") + varint(5) + b"\0"]) + b"\0"
    with pytest.raises(UndecodableError, match="union"):
        both_versions.decode_event(record)
