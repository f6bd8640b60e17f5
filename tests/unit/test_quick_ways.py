"""Where the domain has a quick way for the usual value: it gives what the plain way gives, or leaves it to that."""

from datetime import UTC
from zoneinfo import ZoneInfo

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import astuple

from processor.domain import instants, items, values
from processor.domain.values import InvalidValue
from tests.reference.items import _mended
from tests.support.events import exact
from tests.support.hostile import BAD_ITEMS, ITEMS, changed_dates, examples, mostly

JSON_MARKS = (
    *'[]{}",:\\ 0123456789.eE+-\n\x01é😀\ud800',
    '"a"',
    '{"a":',
    "1e400",
    "\\ud83d\\ude00",
    *('"\\ud800"', '"\\ude00\\ud83d":', "\\udfff"),
    "true",
    "null",
    "-0",
)
JSON = st.lists(st.sampled_from(JSON_MARKS), max_size=12).map("".join)
ZONES = st.sampled_from([UTC, ZoneInfo("Europe/Kyiv"), ZoneInfo("Africa/Monrovia")])


def outcome(read, *arguments):
    """Give what reading leads to: the value, told apart by types, or the refusal's text."""
    try:
        return exact(read(*arguments))
    except (InvalidValue, items.InvalidItems) as error:
        return f"refused: {error}"


@examples(1_000)
@given(text=JSON | JSON.map('[{{"a":{}}}]'.format))
def test_json_is_read_as_the_standard_library_reads_it(text):
    """Whatever stands there: the same value, of the same types, or refused by both."""
    assert outcome(values.parse_json, text) == outcome(values._parse_json_plainly, text)


@examples(1_000)
@given(text=JSON | JSON.map('[{{"a":{}}}]'.format))
def test_mended_json_is_read_as_the_standard_library_reads_it_and_then_mended(text):
    """U+FFFD stands for each lone surrogate, in names too; all else is the same (D10)."""
    plainly = outcome(lambda plain: _mended(values._parse_json_plainly(plain)), text)
    assert outcome(values.parse_mended_json, text) == plainly


@examples(1_000)
@given(text=changed_dates(), zone=ZONES)
@example("2024-01-31T10:20:Z", UTC)
@example("2024-01-31T10:20:Z\0", UTC)
@example("2024-01-31T10:20:Z\0Z", UTC)
@example("2024-01-31T10:Z\0:30", UTC)
@example("2024-01-31T24:00:00", UTC)
def test_a_date_of_the_usual_form_is_read_as_any_other(text, zone):
    """One form without the regular expression, and only that form."""
    assert outcome(instants.parse_date, text, zone) == outcome(instants._any_form, text, zone)


@examples(1_000)
@given(value=mostly(ITEMS, BAD_ITEMS, 2), lenient=st.booleans())
def test_an_item_of_the_usual_attributes_is_read_as_any_other(value, lenient):
    """The usual attributes at once, or one by one."""
    assert outcome(read_items, value, quickly, lenient) == outcome(read_items, value, items._any_item, lenient)


def quickly(index, element, *, lenient):
    """Read an item in the quick way if that takes it, which it does of no quantity of 0."""
    item = items._usual_item(element, lenient=lenient)
    assert item is None or item.quantity > 0
    return item or items._any_item(index, element, lenient=lenient)


def read_items(value, read_item, lenient):
    """Read items, each by a function, and give their fields."""
    elements = values.parse_json(value) if isinstance(value, str) else value
    if not isinstance(elements, list):
        return "no array"
    maps = [(index, element) for index, element in enumerate(elements) if isinstance(element, dict)]
    return [astuple(read_item(index, element, lenient=lenient)) for index, element in maps]
