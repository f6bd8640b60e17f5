"""Whose state a mirror's key names: one deployment's, in one form."""

import json

import pytest
from msgspec.structs import replace

from processor.codec.avro import Codec, codec
from processor.settings import Settings
from processor.state.connection import connect
from processor.state.mirror import Mirror
from processor.state.watermark import Lineage
from tests.support.schemas import SCHEMAS, copy_schemas, schema_of

LINEAGE = Lineage("cluster", "group", "events", "facts", "rejected", 3)


def key(lineage, schemas):
    """Return the key of partition 0; nothing is asked of the Redis, which is not there."""
    return Mirror(connect(Settings(redis_url="redis://localhost:1")), lineage, schemas).key(0)


def test_the_same_deployment_finds_its_mirror_again():
    """Whoever asks, with schemas read anew."""
    assert key(replace(LINEAGE), Codec(SCHEMAS)) == key(LINEAGE, codec())


@pytest.mark.parametrize(
    "name", [name for name in Lineage.__struct_fields__ if name not in {"partitions", "rejected_topic_id"}]
)
def test_another_deployment_has_a_mirror_of_its_own(name):
    """Each part counts but two: no state is made from rejected records; another number of partitions stops earlier."""
    assert key(replace(LINEAGE, **{name: "another"}), codec()) != key(LINEAGE, codec())


def test_a_text_that_moved_to_the_next_part_has_a_mirror_of_its_own():
    """The parts are told apart, not run together."""
    assert key(Lineage("ab", "c", "d", "e", "f", 3), codec()) != key(Lineage("a", "bc", "d", "e", "f", 3), codec())


def test_the_mirror_of_a_former_version_is_still_the_mirror():
    """The key of the version before fact_version: in a rolling update both write the same mirror."""
    assert key(LINEAGE, codec()) == "order-facts:b40e8ea99d140fa1:{0}"


@pytest.mark.parametrize(("place", "is_same"), [("an order", True), ("an item", False)])
def test_a_newer_fact_schema_has_a_mirror_of_its_own_if_items_differ(tmp_path, place, is_same):
    """The items in an order's state are packed as that schema has them; another field of the order changes no bytes."""
    copy_schemas(tmp_path)
    newer = schema_of("order-fact")
    [items] = [field["type"]["items"] for field in newer["fields"] if field["name"] == "items"]
    fields = newer["fields"] if place == "an order" else items["fields"]
    fields.append({"name": "channel", "type": ["null", "string"], "default": None, "doc": "Where from."})
    (tmp_path / "order-fact.3.avsc").write_text(json.dumps(newer), encoding="utf-8")
    assert (key(LINEAGE, Codec(tmp_path)) == key(LINEAGE, codec())) is is_same
