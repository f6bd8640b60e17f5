"""Phone numbers as people of one country write them, read by the library `phonenumbers`: an extra, loaded if used.

Takes a region, such as UA; gives the rule by which numbers are compared (D12). Never decides whether a number exists:
what the library can parse counts.
"""

import functools
from typing import Any, Final

from processor.domain.phones import numbers_of
from processor.domain.records import PhoneRule

_INSTALL: Final = "pip install 'order-facts[phones]'"
_KEPT_NUMBERS: Final = 16_384  # reading one takes some 50 us; the bound also limits what hostile events can fill


def region_problem(region: str) -> str | None:
    """Return what is wrong with the setting `phone_region`, if anything."""
    try:
        regions = _library().SUPPORTED_REGIONS
    except ImportError:
        return f"it needs the library phonenumbers; install it: {_INSTALL}"
    if region.upper() in regions:
        return None
    return f"{region!r} is not a country; put one of these there: {', '.join(sorted(regions))}"


def numbers_of_region(region: str) -> PhoneRule:
    """Return the rule for numbers of a region that `region_problem` found no fault with.

    Its name has the library's version: another version may read a number otherwise, and an index made with it would
    not find it.
    """
    library, region = _library(), region.upper()

    @functools.lru_cache(_KEPT_NUMBERS)
    def read(text: str) -> str | None:
        try:
            number = library.parse(text, region)
        except library.NumberParseException:
            return None
        # E.164, and the extension: so does a number written internationally, by its digits.
        return f"{number.country_code}{library.national_significant_number(number)}{number.extension or ''}"

    return numbers_of(f"phone_region={region}, phonenumbers {library.__version__}", read)


def _library() -> Any:
    import phonenumbers  # noqa: PLC0415 - an extra: needed only with the setting phone_region

    return phonenumbers
