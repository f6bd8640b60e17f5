"""Proves the recipe of a merged contact on real services, with the JSON of schemas/README.md (D15)."""

import json

from tests.support.deployment import deployed
from tests.support.recipes import mismatches, values_of


def lines(values):
    """Give values as JSON lines."""
    return "".join(f"{json.dumps(value)}\n" for value in values)


def test_orders_of_a_merged_contact_move_as_the_page_says(settings, tmp_path):
    """Sent by `events send` and `contacts import`: the facts are those below the recipe, and verify finds nothing."""
    (order,) = values_of("Recipes")
    before, merged, events, expected = values_of("A merged contact")
    with deployed(settings, tmp_path) as deployment:
        deployment.command("contacts", "import", "-", stdin=lines(before))
        index, replica = deployment.index(), deployment.replica("a")
        deployment.command("events", "send", "-", stdin=lines(order))
        deployment.await_accounted(1)
        known = len(index.lines("contacts.committed"))
        deployment.command("contacts", "import", "-", stdin=lines(merged))
        index.await_line("contacts.committed", count=known + 1)
        deployment.command("events", "send", "-", stdin=lines(events))
        deployment.await_accounted(1 + len(events))
        replica.stop()
        facts = [json.loads(line) for line in deployment.command("facts", "show").stdout.splitlines()]
        assert [fact["contactId"] for fact in facts] == ["c-1", "c-1", "c-2"]
        for wanted, fact in zip(expected, facts[1:], strict=True):
            assert mismatches(wanted, fact) == []
        assert deployment.command("verify", check=False).returncode == 0
