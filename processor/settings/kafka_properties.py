"""The librdkafka properties that the setting `kafka` must not change."""

from typing import Final

# What the guarantee rests on, and why: the setting `kafka` must not change it.
RESERVED_BECAUSE: Final[dict[str, tuple[str, ...]]] = {
    "only committed records are read; it also makes the client wait for stable offsets": ("isolation.level",),
    "a lost offset is a decision, never a silent jump; the end of a partition is counted on": (
        *("auto.offset.reset", "enable.partition.eof"),
    ),
    "offsets are committed by the transaction only": ("enable.auto.commit", "enable.auto.offset.store"),
    "a transaction needs them as they are": (
        *("acks", "request.required.acks", "enable.idempotence", "enable.gapless.guarantee"),
        *("max.in.flight", "max.in.flight.requests.per.connection"),
    ),
    "they say who this member is, and how it is given partitions": (
        *("transactional.id", "group.id", "group.instance.id", "group.protocol", "group.remote.assignor"),
        "partition.assignment.strategy",
    ),
    "an order's events must meet in one partition, whoever sends them": ("partitioner",),
    "the client checks it before compression, and it would stop a partition for ever; the topic's limit decides": (
        "message.max.bytes",
    ),
    "they have settings of their own": ("bootstrap.servers", "metadata.broker.list", "client.id"),
}
RESERVED_KAFKA_PROPERTIES: Final = frozenset(name for names in RESERVED_BECAUSE.values() for name in names)
