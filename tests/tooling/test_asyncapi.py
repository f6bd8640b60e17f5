"""Proves that schemas/asyncapi.yaml is AsyncAPI 3.0 and agrees with the program, and that the check sees a change."""

import shutil

import pytest

from deploy.build.asyncapi import DOCUMENT, SCHEMAS, problems

BROKEN = {
    "a misspelt word": ("    action: send\n", "    action: emit\n", "action: 'emit' is not one of ['send', 'receive']"),
    "an unknown property": ("    title: Contacts\n", "    heading: Contacts\n", "'heading' does not match any"),
    "another policy": ("[compact]", "[compacted]", "'compacted' is not one of ['compact', 'delete']"),
    "no such version": ("./order-fact.2.avsc", "./order-fact.9.avsc", "./order-fact.9.avsc: leads nowhere"),
    "no such message": ('messages/Contact"', 'messages/Contacts"', "#/components/messages/Contacts: leads nowhere"),
    "no partitions": ("        partitions: 6\n", "", "lacks 'partitions'"),
}
# Was, becomes, the line that names it: all at once.
DIFFERENT = (
    ("./order-event.2.avsc", "./order-event.1.avsc", "OrderEvent: schema: says "),
    ("[./order-fact.1.avsc]", "[]", "OrderFactByRegistry: older versions: says [], "),
    ("address: contacts\n", "address: customers\n", "contacts: topic: says customers, "),
    ("partitions: 6\n", "partitions: 12\n", "orderEvents: partitions: says 12, and the program 6"),
    ("        truncated:", "        cut:", "RejectedEvent: headers: says ["),
    ("        replay.round:", "        replays:", "OrderEvent: headers: says ["),
    ("            - stale\n", "", "reasons: says ["),
    ("enum: [invalid, ignored]", "enum: [invalid]", "outcomes: says ['invalid'], "),
    ("const: order-facts-replay", "const: replay", "receiveRejectedEvents: group: says replay"),
    ("          max.message.bytes: 104792064\n", "", "rejectedEvents: max.message.bytes: says None, "),
    ("default: localhost:9092", "default: kafka:9092", "bootstrap servers: says kafka:9092, "),
    (
        '      contactDeleted:\n        $ref: "#/components/messages/ContactDeleted"\n',
        "",
        "the message ContactDeleted is in no channel",
    ),
)


@pytest.fixture
def folder(tmp_path):
    """Give a copy of the schemas."""
    shutil.copytree(SCHEMAS, tmp_path / "schemas")
    return tmp_path / "schemas"


def changed(folder, *changes):
    """Give the problems of the document after changes of its text."""
    text = (folder / DOCUMENT).read_text(encoding="utf-8")
    for was, becomes, _ in changes:
        assert was in text
        text = text.replace(was, becomes)
    (folder / DOCUMENT).write_text(text, encoding="utf-8")
    return list(problems(folder))


def test_the_document_is_asyncapi_and_agrees_with_the_program(folder):
    """Nothing is wrong with the project's document."""
    assert list(problems(folder)) == []


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_what_is_no_asyncapi_is_named(folder, change):
    """The line says where, and what was expected there."""
    found = changed(folder, change)
    assert any(change[2] in line for line in found), found


def test_what_the_program_does_otherwise_is_named(folder):
    """Each difference has its line, with what the program does."""
    found = changed(folder, *DIFFERENT)
    assert [line for _, _, line in DIFFERENT if not any(problem.startswith(line) for problem in found)] == []


def test_a_broken_avro_schema_is_named(folder):
    """The document's payloads are Avro by AsyncAPI's own definition of it."""
    file = folder / "contact.1.avsc"
    file.write_text(file.read_text(encoding="utf-8").replace('"type": "record"', '"type": "records"'), encoding="utf-8")
    assert any(line.startswith("components.schemas.Contact.schema") for line in problems(folder))
