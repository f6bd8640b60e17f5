"""Proves that the healer's memory is bounded: a hundred thousand events may wait."""

import time

import pytest

from processor.codec.avro import codec
from tests.benchmarks.process import peak_rss_bytes
from tests.support.deployment import await_condition, deployed
from tests.support.healers import Healers
from tests.support.producing import quick_producer
from tests.support.traffic import event

WAITING = 100_000
MOST_BYTES = 200 << 20


def send(producer, **record):
    """Produce a record, whenever there is room for it."""
    while True:
        try:
            return producer.produce(**record)
        except BufferError:
            producer.poll(0.1)


def reject(settings):
    """Write the rejected records of as many orders, each with an e-mail and a phone that find nobody yet."""
    producer = quick_producer(settings)
    for number in range(WAITING):
        order, partition = f"order-{number}", number % 3
        params = {
            "totalCost": "1",
            "status": "INITIALIZED",
            "date": "2026-05-14T10:11:00",
            "deliveryAddress": "a" * 200,
        }
        mine = {"email": f"buyer.{number}@shop.example", "phone": f"+999{number:09}"}
        said = {
            "reason": "contact_not_found",
            "outcome": "invalid",
            "detail": "why",
            "source.topic": settings.events_topic,
            "source.partition": str(partition),
            "source.offset": str(number),
            "source.timestamp": str(int(time.time() * 1000)),
        }
        send(
            producer,
            topic=settings.rejected_topic,
            value=codec().encode_event(event("orderCreated", order, **params, **mine)),
            key=order.encode(),
            partition=partition,
            headers=[(name, text.encode()) for name, text in said.items()],
        )
    assert producer.flush(120) == 0


@pytest.mark.slow(reason="it writes and reads a hundred thousand records, twice")
@pytest.mark.timeout(600)
def test_a_hundred_thousand_waiting_events_take_less_than_200_mib(settings, tmp_path):
    """Waiting, looked up while contacts come, and all sent back; then nothing waits."""
    with deployed(settings, tmp_path, kind=Healers) as deployment:
        deployment.index()
        reject(settings)
        healer = deployment.healer()
        (ready,) = healer.await_line("healer.ready")
        assert ready["waiting"] == WAITING
        waiting_bytes = peak_rss_bytes(healer.pid)
        producer = quick_producer(settings)
        for number in range(WAITING):
            contact = codec().encode_contact({"contactId": f"c{number}", "email": f"Buyer.{number}@shop.example"})
            send(producer, topic=settings.contacts_topic, value=contact, key=b"c%d" % number)
        assert producer.flush(120) == 0
        began_s = time.monotonic()
        await_condition(
            lambda: sum(line["records"] for line in healer.lines("healer.sent")) == WAITING, healer.log_path, 300
        )
        took_s = time.monotonic() - began_s
        most_bytes = peak_rss_bytes(healer.pid)
        print(
            f"read in {ready['took_ms']} ms; at most {waiting_bytes >> 20} MiB waiting, {most_bytes >> 20} MiB in all; "
            f"sent back within {took_s:.0f} s of the last contact"
        )
        assert most_bytes < MOST_BYTES
        healer.stop()
        assert deployment.heal_once() == {"replayed": 0, "waiting": 0}
