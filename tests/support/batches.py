"""Record batches as only few producers send them: whole, of any size, in one partition."""

from confluent_kafka import Producer

PATIENCE_S = 60.0


def send_batch(settings, topic, records, partition=0, codec="zstd"):
    """Send records (key, value) as one compressed batch."""
    records = list(records)
    properties = {
        "bootstrap.servers": settings.bootstrap_servers,
        "message.max.bytes": 1_000_000_000,
        "batch.size": 2_000_000_000,
        "batch.num.messages": len(records),
        "queue.buffering.max.kbytes": 2_000_000,
        "linger.ms": 60_000,  # it goes when it is whole
        "compression.type": codec,
    }
    producer, failed = Producer(properties), []
    for key, value in records:
        producer.produce(topic, value, key, partition, on_delivery=lambda error, _: failed.append(error))
    assert producer.flush(PATIENCE_S) == 0
    assert not any(failed), failed
