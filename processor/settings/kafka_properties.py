"""The librdkafka properties that the setting `kafka` must not change."""

from typing import Final

# why -> the properties. The guarantee rests on them.
RESERVED_BECAUSE: Final[dict[str, tuple[str, ...]]] = {
    "reads committed records only, and makes the client wait for stable offsets": ("isolation.level",),
    "a lost offset must stop the program, never skip events; the program needs each partition's end reported": (
        *("auto.offset.reset", "enable.partition.eof"),
    ),
    "only the transaction commits offsets": ("enable.auto.commit", "enable.auto.offset.store"),
    "a transaction needs these values": (
        *("acks", "request.required.acks", "enable.idempotence", "enable.gapless.guarantee"),
        *("max.in.flight", "max.in.flight.requests.per.connection"),
    ),
    "they identify this member of the group and decide how it gets partitions": (
        *("transactional.id", "group.id", "group.instance.id", "group.protocol", "group.remote.assignor"),
        "partition.assignment.strategy",
    ),
    "all events of an order must reach one partition, whoever sends them": ("partitioner",),
    "the client checks it before compression: one record could stop a partition for ever; the topic's limit decides": (
        "message.max.bytes",
    ),
    "other settings set them": ("bootstrap.servers", "metadata.broker.list", "client.id"),
}
RESERVED_KAFKA_PROPERTIES: Final = frozenset(name for names in RESERVED_BECAUSE.values() for name in names)
