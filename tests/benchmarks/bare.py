"""The bare loop: what Kafka's client and Avro alone cost, in one Python process, exactly once.

Consumes in batches, decodes every event, encodes one fact for it, produces that in a transaction which commits
the offsets too. No rules, no state, no look-up: nothing that does the work in Python with these libraries can be
much cheaper. A fact is a constant but for its id, type, times and source; it is as large as a typical one.

    python -m tests.benchmarks.bare '{"bootstrap_servers": ..., "group_id": ..., ...}'
"""

import io
import json
import signal
import sys
import threading
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from tests.support.facts import without_logical_types
from tests.support.schemas import header_of, schema_of

HEADER_BYTES = 10
BATCH = 5_000
WAIT_S = 0.1
TIMEOUT_S = 30.0
AMOUNT = (1_234_500).to_bytes(3, "big")
ITEM = {
    "externalItemId": "20431",
    "name": "Device 431",
    "url": "s.example/431",
    "imageUrl": "s.example/431.png",
    "quantity": 2.0,
    "cost": AMOUNT,
    "custom": {},
}
FACT = {
    "contactId": "c12345",
    "identifiedBy": "phone",
    "status": "INITIALIZED",
    "date": 1_778_753_460_000,
    "totalCost": AMOUNT,
    "currency": "UAH",
    "items": [ITEM, ITEM],
    "deliveryMethod": "courier",
    "paymentMethod": "card",
    "custom": {"points": 250},
    "revision": 1,
}


def parsed(subject):
    """Give the newest schema parsed for speed (no logical types), and the header of values written with it."""
    schema = schema_of(subject)
    return parse_schema(without_logical_types(schema)), header_of(schema)


def clients(job):
    """Give a consumer and a transactional producer with the properties that order-facts uses."""
    common = {"bootstrap.servers": job["bootstrap_servers"], "client.id": "bare"}
    consumer = Consumer(
        {
            **common,
            "group.id": job["group_id"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 50,
            "queued.max.messages.kbytes": 32 << 10,
        }
    )
    producer = Producer(
        {
            **common,
            "transactional.id": f"{job['group_id']}/{job['instance_id']}",
            "compression.type": "zstd",
            "linger.ms": 5,
            "batch.size": 1 << 20,
            "queue.buffering.max.messages": 1_000_000,
            "retry.backoff.ms": 5,
        }
    )
    return consumer, producer


def loop(job, stop):
    """Turn events into facts until told to stop."""
    (event_schema, _), (fact_schema, header) = parsed("order-event"), parsed("order-fact")
    consumer, producer = clients(job)
    producer.init_transactions(TIMEOUT_S)
    consumer.subscribe([job["events_topic"]])
    facts_topic, events_topic = job["facts_topic"], job["events_topic"]
    while not stop.is_set():
        first = consumer.poll(WAIT_S)
        if first is None:
            continue
        messages = [first, *consumer.consume(BATCH - 1, 0)]  # consume alone would wait for a full batch
        producer.begin_transaction()
        offsets = {}
        for message in messages:
            if message.error() is not None:
                raise RuntimeError(message.error().str())
            partition, offset, time_ms = message.partition(), message.offset(), message.timestamp()[1]
            key = message.key()
            fact = {
                **FACT,
                "externalOrderId": key.decode(),
                "eventTypeKey": event_type(message.value(), event_schema),
                "createdAt": time_ms,
                "updatedAt": time_ms,
                "statusChangedAt": time_ms,
                "sourcePartition": partition,
                "sourceOffset": offset,
            }
            buffer = io.BytesIO()
            buffer.write(header)
            schemaless_writer(buffer, fact_schema, fact)
            producer.produce(facts_topic, buffer.getvalue(), key, partition)
            offsets[partition] = offset + 1
        positions = [TopicPartition(events_topic, *entry) for entry in offsets.items()]
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), TIMEOUT_S)
        producer.commit_transaction(TIMEOUT_S)
    consumer.close()


def event_type(value, schema):
    """Decode an event and give its type."""
    try:
        event: Any = schemaless_reader(io.BytesIO(value[HEADER_BYTES:]), schema, None)
        return event["eventTypeKey"]
    except EOFError:
        return "undecodable"


def main():
    """Run until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    loop(json.loads(sys.argv[1]), stop)


if __name__ == "__main__":
    main()
