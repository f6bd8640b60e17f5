"""Proves that the reference fold keeps the rules, by the corpus of hand-checked examples.

The corpus and the fold were written apart, both from the rules: where they agree, a test that compares the
processor with the fold compares it with the rules.
"""

from collections import Counter
from dataclasses import replace

from tests.reference import Contacts, Fact, Rejected, Rules, fold
from tests.reference.model import Input
from tests.support.cases import fact_differences, load_cases, noted

CASES = load_cases()
IGNORED = {"unsupported_event_type", "order_exists", "order_unknown", "stale", "no_change"}


def test_fold_gives_what_every_case_expects():
    """Every event of every case gives the fact or the reason (with the names of its detail) written there.

    One test: the corpus is counted where the program is held to it. A failure lists the cases, and what is wrong.
    """
    wrong = []
    for case in CASES:
        with noted(case.id):
            wrong += [f"{case.id}: {told}" for told in differences(case)]
    assert not wrong, "\n".join(wrong)


def differences(case):
    """Say, event by event, where the fold does not give what a case expects; an empty list: it does."""
    outputs, orders = [], dict[tuple[int, str], dict]()
    for stage, records in case.stages:
        contacts = Contacts(records, case.rules)
        outputs += fold(case.inputs[stage], contacts, case.rules, case.encoded_size, orders)
    if not len(outputs) == len(case.inputs) == len(case.expect):
        return [f"{len(outputs)} outputs, {len(case.inputs)} events, {len(case.expect)} expected"]
    return [
        f"event {number}: {told}"
        for number, (record, expected, output) in enumerate(zip(case.inputs, case.expect, outputs, strict=True))
        for told in output_differences(record, expected, output)
    ]


def output_differences(record, expected, output):
    """Say where one output is not as expected."""
    place = (output.source_partition, output.source_offset)
    if place != (record.partition, record.offset):
        return [f"an output of {place}"]
    if isinstance(output, Fact):
        return fact_differences(expected["fact"], output.fact) if "fact" in expected else ["a fact"]
    if "fact" in expected:
        return [f"rejected: {output.reason}"]
    outcome = "ignored" if expected["reason"] in IGNORED else "invalid"
    wanted = Rejected(*place, expected["reason"], outcome, tuple(expected.get("detail", ())))
    return [] if output == wanted else [f"expected {wanted}, got {output}"]


def test_corpus_names_each_case_once_and_covers_every_rule():
    """No rule D1 to D24 nor C1 to C3 is without an example, and a failure's name points to one case."""
    ids = Counter(case.id for case in CASES)
    assert [name for name, count in ids.items() if count > 1] == []
    wanted = {f"D{number}" for number in range(1, 25)} | {"C1", "C2", "C3"}
    assert wanted - {case.rule for case in CASES} == set()


def test_contacts_do_not_depend_on_the_order_of_reading():
    """C3: partitions read in any order give the same contact, for every case with contacts."""
    for case in CASES:
        forwards = Contacts(case.contacts, case.rules)
        backwards = Contacts(case.contacts[::-1], case.rules)
        one, other = fold(case.inputs, forwards, case.rules), fold(case.inputs, backwards, case.rules)
        assert one == other, case.id


def test_an_event_without_identifier_asks_for_no_contact():
    """D15: the order's contact is inherited without a look-up, so also when that contact is gone since."""
    asked = []

    class Once(Contacts):
        def find(self, field, value):
            asked.append((field, value))
            return "c-1" if len(asked) == 1 else None

    created = _synthetic_input(0)
    params = [{"name": "externalOrderId", "value": "order-0"}, {"name": "storeId", "value": "s-1"}]
    updated = replace(created, offset=1, event={**created.event, "params": params})
    outputs = fold([created, updated], Once((), Rules()), Rules())
    assert asked == [("email", "ann@example.com")]
    assert [output.fact["contactId"] for output in outputs] == ["c-1", "c-1"]


def _synthetic_input(number):
    order_id = f"order-{number % 3_000}"
    item = '{"externalItemId": "a", "name": "b", "quantity": 2, "cost": 9.5, "url": "u", "imageUrl": "i"}'
    values = {
        "externalOrderId": order_id,
        "email": "ann@example.com",
        "totalCost": number,
        "status": "IN_PROGRESS",
        "date": "2020-05-14T10:11:00",
        "items": f"[{item}, {item}, {item}]",
        "colour": "green",
    }
    params = [{"name": name, "value": value} for name, value in values.items()]
    event = {"eventTypeKey": "orderUpdated", "keyValue": "", "params": params}
    return Input(0, number, number, order_id.encode(), 500, event)
