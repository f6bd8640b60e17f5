"""Proves that no line, metric or answer about health holds what a contact or an event holds."""

import json

from msgspec.structs import replace

from deploy.local.servers import free_ports
from processor.codec.avro import codec
from processor.contacts.shards import Hashes
from processor.domain.parameters import ORDER_PARAMETERS
from processor.replica import startup
from processor.state.mirror import Mirror
from tests.support.deployment import await_condition, deployed
from tests.support.health_answers import ask
from tests.support.producing import quick_producer
from tests.support.redis_client import raw_client
from tests.support.traffic import Sent, created, event

MARK = "qzx7"  # in every text
DIGITS = "9998877665544"  # in every number: a phone
FORMS = (MARK, DIGITS, MARK.encode().hex(), DIGITS.encode().hex())
TEXT = f"Ваня {MARK}\n{DIGITS}"
IDENTIFIERS = ("phone", "email", "externalCustomerId", "pushToken", "contactKey")
LATE = f"late-{MARK}"


def contact(contact_id):
    """Give a contact, marked all over."""
    return {
        "contactId": contact_id,
        "externalCustomerId": f"customer-{contact_id}",
        "email": f"{contact_id}@example.org",
        "phone": f"+{DIGITS}",
        "contactKey": f"key-{contact_id}",
        "pushTokens": [f"push-{contact_id}"],
        "fields": {f"field {MARK}": TEXT},
    }


def marked(order, **params):
    """Give the record of an orderCreated that finds the first contact unless `params` say otherwise."""
    return created(f"{order}-{MARK}", **{"phone": f"+{DIGITS}"} | params)


def events():
    """Give events of all kinds of rightness, each marked all over."""
    whole = {"firstName": TEXT, "lastName": TEXT, "deliveryAddress": TEXT, "email": f"{MARK}@example.org"}
    items = [{"externalItemId": MARK, "name": TEXT, "quantity": 1, "cost": 2.0, "url": MARK, "color": TEXT}]
    yield marked("whole", **whole, items=json.dumps(items), **{f"custom {MARK}": TEXT, "gift": TEXT})
    for number, name in enumerate(sorted({*ORDER_PARAMETERS, *IDENTIFIERS})):
        yield marked(f"text{number}", **{name: TEXT})
        yield marked(f"array{number}", **{name: [{MARK: TEXT}]})
    for number, wrong in enumerate(
        (TEXT, f"[{TEXT}", json.dumps([{MARK: TEXT}]), json.dumps([items[0] | {"quantity": MARK}]))
    ):
        yield marked(f"items{number}", items=wrong)
    yield Sent(f"unknown-{MARK}".encode(), codec().encode_event(event("orderDelivered", f"unknown-{MARK}")))
    yield Sent(f"type-{MARK}".encode(), codec().encode_event(event(f"type {MARK}", f"type-{MARK}")))
    yield Sent(f"another-{MARK}".encode(), marked("keyed").value)
    yield Sent(b"\xff" + MARK.encode(), marked("keyed").value)
    good = marked("bytes").value
    for value in (TEXT.encode(), good[:-3], good + MARK.encode(), b"\xc3\x01" + MARK.encode() * 3 + good[10:]):
        yield Sent(f"bytes-{MARK}".encode(), value, is_undecodable=True)
    yield Sent(f"large-{MARK}".encode(), MARK.encode() * 300_000, is_undecodable=True)


def send_contact_records(settings):
    """Send contact records that cannot be read, and a deletion."""
    producer = quick_producer(settings)
    for key, value in ((MARK.encode(), TEXT.encode()), (b"\xff" + MARK.encode(), b"x"), (MARK.encode() * 400, b"x")):
        producer.produce(settings.contacts_topic, value, key)
    producer.produce(settings.contacts_topic, None, f"deleted-{MARK}".encode())
    assert producer.flush(30) == 0


def damage(deployment):
    """Put marked bytes where the mirror has a watermark, a claim and orders, and into each shard of the index."""
    found = startup.check(deployment.settings)
    mirror, client = Mirror(found.redis, found.lineage, codec()), raw_client(deployment.settings)
    for partition, name in enumerate(("", " ")):
        client.hset(mirror.key(partition), name, TEXT.encode())
    for key in found.index.keys:
        client.hset(key, Hashes(deployment.settings).contact(MARK.encode()), TEXT.encode())
    for key in [mirror.key(partition) for partition in range(2)]:
        for order in client.hkeys(key):
            if MARK.encode() in order:
                client.hset(key, order, TEXT.encode())


def marked_lines(text):
    """Give the lines of a text that hold a mark, in any form."""
    return [line for line in text.splitlines() if any(form in line.lower() for form in FORMS)]


def test_no_line_metric_or_answer_holds_what_a_contact_or_an_event_holds(settings, tmp_path):
    """Marked values go through index, replica and healer, rejected, damaged in Redis, looked for in vain, and back.

    All log at level debug, the Kafka client with all that it can say.
    """
    ports = free_ports(3)
    loud = replace(settings, kafka={"debug": "all"}, log_level="debug", max_event_bytes=1 << 20)
    with deployed(loud, tmp_path, partitions=2) as deployment:
        deployment.send_contacts([contact(MARK), contact(f"deleted-{MARK}")])
        index = deployment.start("contacts", "index", name="index", http_port=ports[0])
        index.await_line("contacts.ready")
        send_contact_records(settings)
        deployment.send(events())
        deployment.send([marked("late", phone="", externalCustomerId=f"customer-{LATE}")])
        replica = deployment.replica("replica", http_port=ports[1])
        healer = deployment.start("rejected", "replay", "--follow", name="healer", http_port=ports[2])
        deployment.await_accounted()
        healer.await_line("healer.ready")
        damage(deployment)
        deployment.send([marked(f"whole{number}") for number in range(20)])
        deployment.send_contacts([contact(LATE), contact(MARK)])
        await_condition(lambda: sum(line["records"] for line in healer.lines("healer.sent")) >= 1, deployment.tails)
        replica.await_line("mirror.damaged", count=2)
        answers = [ask(port, path)[1] for port in ports for path in ("/metrics", "/readyz", "/livez")]
        for process in (replica, index, healer):
            process.stop()
        outputs = [deployment.read(topic) for topic in (settings.facts_topic, settings.rejected_topic)]
        said = {
            process.log_path.name: process.log_path.read_text(encoding="utf-8") for process in (index, replica, healer)
        }
        levels = {line["level"] for line in replica.lines("kafka.client")}
    for records in outputs:
        assert any(form.encode() in record.value for record in records for form in FORMS[:2]), (
            "the marks were processed"
        )
    assert {"debug"} <= levels
    assert "order_facts_events_total" in answers[3]
    texts = {**said, "answers": "\n".join(answers)}
    found = {name: marked_lines(text) for name, text in texts.items() if marked_lines(text)}
    assert not found, "\n".join(f"{name}: {line}" for name, lines in found.items() for line in lines[:5])
