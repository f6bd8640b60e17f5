"""Holds which options `rejected replay --follow` takes; a wrong one is refused before any service is asked."""

import pytest
from click.testing import CliRunner

from processor.cli import cli
from processor.cli.options import duration_ms
from processor.errors import UsageError


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--once"], "they need --follow"),
        (["--within", "24h"], "they need --follow"),
        (["--follow", "--since", "2026-01-01"], "--within says how old"),
        (["--follow", "--dry-run"], "leave --since and --dry-run out"),
        (["--follow", "--reason", "invalid_items"], "--reason invalid_items: with --follow name contact_not_found"),
        (["--follow", "--within", "a day"], "--within a day: put a number and a unit"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, words):
    """Each refusal is one line that says what to leave out, or what to put there."""
    refused = CliRunner().invoke(cli, ["rejected", "replay", *options], standalone_mode=False)
    assert isinstance(refused.exception, UsageError)
    assert words in str(refused.exception)


@pytest.mark.parametrize(("text", "ms"), [("1s", 1_000), ("90m", 5_400_000), ("24h", 86_400_000), ("7d", 604_800_000)])
def test_a_duration_has_a_unit(text, ms):
    """Seconds, minutes, hours and days."""
    assert duration_ms("--within", "24h")(text) == ms


@pytest.mark.parametrize("text", ["", "0h", "24", "h", "1.5h", "-1h", "1w", "1h30m", "٣h"])
def test_what_is_no_duration_is_refused(text):
    """Nothing is guessed."""
    with pytest.raises(UsageError):
        duration_ms("--within", "24h")(text)
