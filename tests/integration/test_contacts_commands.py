"""Proves what `contacts import` sends and refuses, and whom `contacts find` finds."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from processor.codec.avro import codec
from processor.settings import IdentificationRule
from tests.support.commands import output
from tests.support.deployment import deployed
from tests.support.refusals import refusal


def imported(deployment):
    """Give the contacts topic's records: key -> contact, None where deleted, the later record counting."""
    records = deployment.read(deployment.settings.contacts_topic)
    return {record.key.decode(): record.value and codec().decode_contact(record.value) for record in records}


def test_contacts_import_of_csv(idle, tmp_path):
    """Columns by their names in any order; further columns are fields; empty cells are absent; bad rows are named."""
    idle.create("contacts")
    file = tmp_path / "Contacts.CSV"
    file.write_text(
        "\ufeffemail,contactId,loyaltyToken,pushTokens,phone\r\n"
        "ann@shop.example,1,gold,t1 t2,380501234567\r\n"
        '"quoted, ""name""\nover lines",2,,,\r\n'
        "\r\n"
        "too few,3\r\n"
        "no id,,,,\r\n"
        '"broken" quote,4,,,\r\n'
        "bob@shop.example,5,,,\r\n",
        encoding="utf-8",
        newline="",
    )
    done = idle.command("contacts", "import", str(file), check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"sent": 3, "refused": 3}
    few, no_id, quote = done.stderr.splitlines()
    assert few == f"order-facts: {file}, line 6: expected 5 columns, found 2"
    assert no_id == f"order-facts: {file}, line 7: contactId: expected a string that is not blank"
    assert quote.startswith(f"order-facts: {file}, line 8: ")
    absent = dict.fromkeys(("externalCustomerId", "email", "phone", "contactKey"))
    empty: dict[str, Any] = {**absent, "pushTokens": []}
    assert imported(idle) == {
        "1": empty
        | {"contactId": "1", "email": "ann@shop.example", "phone": "380501234567", "pushTokens": ["t1", "t2"]}
        | {"fields": {"loyaltyToken": "gold"}},
        "2": empty | {"contactId": "2", "email": 'quoted, "name"\nover lines', "fields": {}},
        "5": empty | {"contactId": "5", "email": "bob@shop.example", "fields": {}},
    }


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "line 1: expected a header"),
        (b"id,email\n1,a\n", "line 1: expected a header"),
        (b"contactId,email,email\n1,a,b\n", "line 1: expected a header"),
        ("contactId,email\n1,é\n".encode("latin-1"), "line 2: expected UTF-8"),
    ],
)
def test_contacts_import_of_a_file_that_is_none(idle, tmp_path, content, problem):
    """A wrong header or another encoding is a wrong file, not a wrong row: 2, and nothing is sent."""
    idle.create("contacts", 1)
    file = tmp_path / "contacts.csv"
    file.write_bytes(content)
    assert refusal(idle.command("contacts", "import", str(file), check=False), 2).startswith(f"{file}, {problem}")
    assert imported(idle) == {}


def test_contacts_import_of_json_lines(idle, tmp_path):
    """A line replaces its contact as a whole, or deletes it; a line of wrong types is named and changes nothing."""
    idle.create("contacts", 1)
    file = tmp_path / "contacts.jsonl"
    good = [
        {"contactId": "1", "email": "old@shop.example", "phone": "1"},
        {"contactId": "1", "email": "new@shop.example", "pushTokens": ["t"], "fields": {"city": "Київ"}},
        {"contactId": "2", "contactKey": "k"},
        {"contactId": "2", "deleted": True},
        {"contactId": "3", "deleted": False},
    ]
    bad = [
        {"contactId": 1},
        {"contactId": " "},
        {"contactId": "1", "phone": 380501234567},
        {"contactId": "1", "pushTokens": "t"},
        {"contactId": "1", "pushTokens": {"t": 1}},
        {"contactId": "1", "fields": ["a"]},
        {"contactId": "1", "fields": {"a": 1}},
        {"contactId": "1", "city": "Київ"},
        {"contactId": "1", "deleted": "true"},
        ["1"],
    ]
    file.write_text("\n".join(map(json.dumps, [*good, *bad])), encoding="utf-8")
    done = idle.command("contacts", "import", str(file), check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"sent": len(good), "refused": len(bad)}
    lines = done.stderr.splitlines()
    assert len(lines) == len(bad), lines
    for number, line in enumerate(lines, len(good) + 1):
        assert line.startswith(f"order-facts: {file}, line {number}: ")
    found = imported(idle)
    assert found["1"]["email"] == "new@shop.example"
    assert found["1"]["phone"] is None
    assert found["1"]["fields"] == {"city": "Київ"}
    assert found["2"] is None
    assert found["3"] == found["3"] | {"contactId": "3", "email": None}


@pytest.mark.parametrize(
    ("identifier", "found_by"),
    [
        ("ContactId=c7", "contactId"),
        ("contact_ID= c7 ", "contactId"),
        ("EXTERNALCUSTOMERID=AV7", "externalCustomerId"),
        ("userEmail=BUYER.7@shop.EXAMPLE", "email"),
        ("sms=+999000007", "phone"),
        ("PushToken=token-7", "pushToken"),
    ],
)
def test_contacts_find(indexed, identifier, found_by):
    """D12: names in any case, values trimmed, an e-mail without regard to case; the line says how it was found."""
    found = output(indexed.command("contacts", "find", identifier))
    assert found == [{"contactId": "c7", "identifiedBy": found_by}]


@pytest.mark.parametrize("identifier", ["phone=", "externalCustomerId=av7", "contactKey=c7"])
def test_contacts_find_nobody(indexed, identifier):
    """Nobody found is 1; the value, personal as it may be, is not repeated."""
    line = refusal(indexed.command("contacts", "find", identifier, check=False), 1)
    assert line == f"no contact found by {identifier.partition('=')[0]}"


@pytest.mark.parametrize("identifier", ["phone", "=c7", "totalCost=5"])
def test_contacts_find_needs_a_name_that_identifies(indexed, identifier):
    """What is not NAME=VALUE, or identifies nobody by the rules, is wrong usage."""
    line = refusal(indexed.command("contacts", "find", identifier, check=False), 2)
    assert line.startswith("expected NAME=VALUE with a name that identifies a contact, such as ")


def test_contacts_find_by_a_configured_rule(settings, tmp_path):
    """D14: a rule's parameter finds by its contact field; before the index is built the line says so (3)."""
    rules = (IdentificationRule("token", "loyaltyToken"),)
    with deployed(replace(settings, identification=rules), tmp_path, partitions=1) as deployment:
        empty = deployment.command("contacts", "find", "Token=gold", check=False)
        assert refusal(empty, 3).startswith("the contact index is empty; `order-facts contacts index` builds it")
        deployment.send_contacts([{"contactId": "c1", "email": "a@shop.example", "fields": {"loyaltyToken": "gold"}}])
        deployment.index()
        assert output(deployment.command("contacts", "find", "TOKEN=gold")) == [
            {"contactId": "c1", "identifiedBy": "loyaltyToken"}
        ]
        assert refusal(deployment.command("contacts", "find", "email=a@shop.example", check=False), 2).endswith("token")
        other = deployment.command("contacts", "find", "x=1", check=False, identifier_key="another secret of the tests")
        assert other.returncode == 2
        wrong = deployment.command(
            "contacts", "find", "token=gold", check=False, identifier_key="another secret of the tests"
        )
        assert refusal(wrong, 3).endswith("builds it, run with the same identifier_key and identification")
