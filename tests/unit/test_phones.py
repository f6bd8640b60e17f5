"""How phone numbers are compared (D12, C2): the three ways, against a plain one and against the reference."""

import sys

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processor.domain import phones
from processor.domain.identifiers import PHONE, comparable
from processor.errors import UsageError
from processor.settings import Settings, load
from processor.settings.rules import identification_of
from tests.reference import Rules
from tests.reference.contacts import compared_form
from tests.support.hostile import examples

SIGNS = (
    *"0123456789+-() .\t/xe;=",
    "00",
    "+380",
    "ext. 5",
    "tel:",
    "٣",
    "\uff14",
    "²",
    "\uff0b",
    "\uff11\uff10",
    "\ud800",
    "A",
)
NUMBERS = st.lists(st.sampled_from(SIGNS), max_size=14).map("".join) | st.text(max_size=6)
REGIONS = st.sampled_from(["UA", "US", "IT", "AR", "MX", "BR", "GB", "RU"])


def rule(**settings):
    """Give the rule of these settings."""
    return identification_of(Settings(**settings)).phones


def form(value, **settings):
    """Give what is compared, None for what matches nothing."""
    found = comparable(PHONE, value, rule(**settings))
    return None if found is None else found.value


@pytest.mark.parametrize(
    ("value", "compared"),
    [
        ("+380 (50) 123-45-67", "380501234567"),
        ("00380501234567", "380501234567"),
        (" 0 0 380-50 1234567", "380501234567"),
        ("+00380", "380"),
        ("0000380", "00380"),  # one 00 goes, not two
        ("0501234567", "0501234567"),
        ("٣٨٠ \uff15\uff10", "38050"),
        ("x²5½", "5"),  # a power and a fraction are no decimal digits
        (380501234567, "380501234567"),
        (-5, "5"),
        (380501234567.0, "380501234567"),
        (-0.0, "0"),
        ("1" * 300, "1" * 300),
        ("+" + "1" * 300, None),  # counted before
        *((value, None) for value in ("00", "+00", "call me", "²", "+")),
    ],
)
def test_d12_digits_are_compared_without_signs_and_one_leading_00(value, compared):
    """Other scripts' digits are the same digits; a value without one matches nothing."""
    assert form(value) == compared


@pytest.mark.parametrize("value", ["+380 (50) 123-45-67", "00380", "call me", "٣"])
def test_d12_exact_compares_the_text(value):
    """As it is, trimmed."""
    assert form(f" {value}\t", phone_matching="exact") == value


@pytest.mark.parametrize(
    ("value", "compared"),
    [
        ("050 123-45-67", "380501234567"),
        ("(050) 1234567", "380501234567"),
        ("380501234567", "380501234567"),
        (501234567, "380501234567"),
        ("+1 650 253 0000", "16502530000"),  # written internationally: not read as one of the country
        ("001 650 253 0000", "16502530000"),
        ("+0501234567", "0501234567"),
        ("050 123 45 67 ext. 5", "3805012345675"),
        ("+380 50 123 45 67 ext. 5", "3805012345675"),
        ("7", "7"),  # too short for the library
        ("1" * 251, "1" * 251),  # too long for it
        ("CALL-ME", None),
        ("00", None),
    ],
)
def test_d12_a_number_of_the_region_is_compared_in_its_international_form(value, compared):
    """However people write it; what the library cannot read is compared by its digits."""
    assert form(value, phone_region="ua") == compared


@examples(1_500)
@given(text=NUMBERS)
def test_digits_are_taken_as_one_by_one(text):
    """The quick ways, of a plus and digits and of ASCII, give what the plain way gives."""
    plain = phones._all_digits_plainly(text)
    assert phones._all_digits(text) == plain
    assert not text or phones.digits(text) == plain.removeprefix("00")


@examples(600)
@given(text=NUMBERS, region=st.none() | REGIONS)
@example("050 123 45 67 ext. 5", "UA")
@example("0000380", None)
def test_phones_are_compared_as_the_reference_compares_them(text, region):
    """By digits, or as numbers of a region: the same form, or none by both."""
    assert form(text, phone_region=region) == compared_form("phone", text, Rules(phone_region=region))


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_every_regions_numbers_meet_in_one_form(region):
    """A national and an international spelling of the library's own example are one number."""
    number = phonenumbers.example_number(region)
    assert number is not None
    spelt = [phonenumbers.format_number(number, style) for style in (0, 1, 2, 3)]
    assert len({form(text, phone_region=region) for text in spelt}) == 1, spelt


def test_another_way_of_comparing_has_another_name():
    """The contact index keeps the name: one built in another way is not ready. A region's has the library's version."""
    names = [
        rule(**one).name for one in ({}, {"phone_matching": "exact"}, {"phone_region": "UA"}, {"phone_region": "PL"})
    ]
    assert len(set(names)) == len(names)
    assert names[2] == rule(phone_region="ua").name == f"phone_region=UA, phonenumbers {phonenumbers.__version__}"


@pytest.mark.parametrize(
    ("given_settings", "told"),
    [
        ({"phone_region": "XX"}, r"'XX' is not a country; put one of these there: AC, AD, .*, UA, "),
        ({"phone_region": ""}, r"'' is not a country"),
        ({"phone_region": "UA", "phone_matching": "exact"}, "phone_matching=exact compares phone numbers as text"),
    ],
)
def test_a_region_that_cannot_be_used_is_refused(given_settings, told):
    """An unknown country, and one beside phone_matching=exact: a line that names the setting and what to put there."""
    with pytest.raises(UsageError, match=f"^setting phone_region: {told}"):
        load(given_settings, None, {})


def test_without_the_library_a_region_is_refused_with_the_command_that_installs_it(monkeypatch):
    """It is an extra; nothing else needs it."""
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    assert load({}, None, {}).phone_region is None
    with pytest.raises(UsageError, match=r"^setting phone_region: .* pip install 'order-facts\[phones\]'$"):
        load({"phone_region": "UA"}, None, {})
