"""Proves that the programs of schemas/README.md send orders that become facts, and read those, on real services."""

import json

import pytest
from msgspec.structs import replace

from tests.support.deployment import deployed
from tests.support.page_programs import lines_until, program_of, run, started
from tests.support.recipes import mismatches

BUYER = {"contactId": "12347"}
CUSTOM = {"giftWrap": True, "points": 26, "weightKg": 2.0, "tags": '["new","web"]'}
WRITERS = {"Python": ("python", "order-1"), "Java": ("java", "order-2")}
READERS = {"Reading facts": "python", "Facts in Java": "java"}


@pytest.fixture
def shop(settings, tmp_path):
    """Give a deployment that knows the buyer of all programs, with an index and a replica."""
    with deployed(settings, tmp_path, partitions=2) as running:
        running.send_contacts([BUYER])
        running.index()
        running.replica("a")
        yield running


def facts_of(deployment, order_id):
    """Give the facts of an order as JSON, in their order."""
    facts = map(json.loads, deployment.command("facts", "show", "--order", order_id).stdout.splitlines())
    return sorted(facts, key=lambda fact: fact["revision"])


def require_facts(deployment, order_id):
    """Require the two facts of a program's order, with the type of every value kept."""
    created, delivered = facts_of(deployment, order_id)
    first = {"revision": 1, "status": "INITIALIZED", "contactId": "12347", "totalCost": "258.9000"}
    assert mismatches(first, created) == []
    assert mismatches({"revision": 2, "status": "DELIVERED"}, delivered) == []
    assert mismatches(created["custom"], CUSTOM) == mismatches(CUSTOM, created["custom"]) == []
    lamp = {"externalItemId": "lamp", "quantity": 1.0, "custom": {"weightKg": 1.5}}
    assert mismatches(lamp, created["items"][0]) == []


def test_programs_send_and_read_by_a_registry(settings, registry, tmp_path):
    """Confluent's own clients and the processor understand each other, both ways, on a real registry.

    The facts are of version 1, and the page's reader asks for version 2.
    """
    given = replace(settings, wire_format="confluent", schema_registry_url=registry.url)
    with deployed(given, tmp_path, partitions=2) as shop:
        shop.command("schemas", "register")
        shop.command("contacts", "import", "-", stdin=json.dumps(BUYER))
        shop.index()
        shop.replica("a", fact_version=1)
        run(program_of("Python with a schema registry", "python", tmp_path), shop.environment())
        shop.await_accounted(2)
        reader = program_of("Facts by a schema registry", "python", tmp_path)
        printed = lines_until(started(reader, shop.environment(), shop), 2)
        assert printed == ["order-3 1 INITIALIZED 258.9000", "order-3 2 DELIVERED 258.9000"]
        require_facts(shop, "order-3")


def test_programs_send_and_read_without_a_registry(shop, tmp_path):
    """Each order is created and delivered; amounts, numbers, lists and items arrive as what they were."""
    environment = shop.environment()
    reading = [program_of(heading, language, tmp_path) for heading, language in READERS.items()]
    readers = [started(program, environment, shop) for program in reading]
    for heading, (language, _) in WRITERS.items():
        run(program_of(heading, language, tmp_path), environment)
    shop.await_accounted(4)
    for _, order_id in WRITERS.values():
        require_facts(shop, order_id)
    expected = [
        f"{order_id} {change} 258.9000"
        for _, order_id in WRITERS.values()
        for change in ("1 INITIALIZED", "2 DELIVERED")
    ]
    for reader in readers:
        assert sorted(lines_until(reader, 4)) == expected
