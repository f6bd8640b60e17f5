"""Proves that names which `topics widen` would make, and no deployment could use, are refused."""

import pytest
from msgspec.structs import replace

from processor.errors import UsageError
from processor.settings import Settings
from processor.widening.new_names import Widened


@pytest.mark.parametrize(
    ("changes", "suffix", "says"),
    [
        ({"events_topic": "e" * 240}, "-" + "s" * 20, "is longer than 249"),
        ({"contacts_topic": "order-events-24", "events_topic": "order-events"}, None, "is another setting's topic too"),
    ],
)
def test_suffix_that_makes_names_of_no_use(changes, suffix, says):
    """The line names the option to correct."""
    with pytest.raises(UsageError, match=says) as refused:
        Widened.of(replace(Settings(), **changes), 24, suffix)
    assert str(refused.value).startswith("--suffix ")
    assert "suffix" in str(refused.value).rpartition("; ")[2]
