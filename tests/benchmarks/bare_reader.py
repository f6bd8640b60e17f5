"""The bare loop beside `facts export`: reads a topic of facts to its end and decodes each with fastavro. Keeps nothing.

python -m tests.benchmarks.bare_reader '{"bootstrap_servers": ..., "facts_topic": ..., "ends": {"0": 10, ...}}'
"""

import io
import json
import sys

from confluent_kafka import Consumer, TopicPartition
from fastavro import schemaless_reader

from tests.benchmarks.bare import BATCH, HEADER_BYTES, parsed

WAIT_S = 1.0


def main():
    """Read up to the ends, and say how many facts that were."""
    job = json.loads(sys.argv[1])
    schema, _ = parsed("order-fact")
    consumer = Consumer(
        {
            "bootstrap.servers": job["bootstrap_servers"],
            "group.id": "bare-reader",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": 32 << 10,
        }
    )
    left = {int(partition): end for partition, end in job["ends"].items() if end}
    consumer.assign([TopicPartition(job["facts_topic"], partition, 0) for partition in left])
    count = 0
    while left:
        for message in consumer.consume(BATCH, WAIT_S):
            schemaless_reader(io.BytesIO((message.value() or b"")[HEADER_BYTES:]), schema, None)
            count += 1
            partition = message.partition() or 0
            if (message.offset() or 0) + 1 == left.get(partition):
                del left[partition]
    consumer.close()
    print(count)


if __name__ == "__main__":
    main()
