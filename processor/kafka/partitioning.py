"""Whether all producers put an order's events into the same partition. Takes keys and partitions; reads nothing.

Kafka's own producers choose a key's partition by murmur2; clients based on librdkafka choose by CRC-32, unless they set
`partitioner=murmur2_random`. With both at work, one order's events are in two partitions, and the order has two lives.
"""

from collections.abc import Iterable
from math import log
from typing import Final, NamedTuple

from processor.domain.records import Record

_MASK: Final = 0xFFFFFFFF
_MULTIPLIER: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C
MOST_KEYS: Final = 4_096  # a sample's keys are in memory, and each takes some microseconds
_LEAST_LOG_ODDS: Final = log(1e9)  # against chance


def murmur2(data: bytes) -> int:
    """Return the 32 bits of org.apache.kafka.common.utils.Utils.murmur2, as an unsigned number."""
    result = _SEED ^ len(data)
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        part = int.from_bytes(data[at : at + 4], "little") * _MULTIPLIER & _MASK
        part = (part ^ part >> 24) * _MULTIPLIER & _MASK
        result = result * _MULTIPLIER & _MASK ^ part
    if data[whole:]:
        result = (result ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK
    result = (result ^ result >> 13) * _MULTIPLIER & _MASK
    return result ^ result >> 15


def usual_partition(key: bytes, partitions: int) -> int:
    """Return the partition that Kafka's own producers choose for a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


class Counts(NamedTuple):
    """How many different keys were where murmur2 puts them, and how many were elsewhere."""

    following: int
    elsewhere: int


class KeySample:
    """Different keys of one topic, each with whether it is where murmur2 puts it."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._follows: dict[bytes, bool] = {}

    def add(self, records: Iterable[Record]) -> None:
        """Look at the keys of these records, until the sample is full."""
        for record in records:
            if record.key is None or record.key in self._follows:
                continue
            if len(self._follows) >= MOST_KEYS:
                return
            self._follows[record.key] = usual_partition(record.key, self._partitions) == record.partition

    @property
    def counts(self) -> Counts:
        """The counts so far."""
        following = sum(self._follows.values())
        return Counts(following, len(self._follows) - following)

    def is_mixed(self) -> bool:
        """Return whether some producers follow murmur2 and others do not.

        Some keys are elsewhere, and more follow it than chance explains: of keys that are all spread by another rule,
        one in as many as there are partitions. (Chernoff's bound of the binomial tail, below one in a billion.)
        """
        following, elsewhere = self.counts
        total, chance = following + elsewhere, 1 / self._partitions
        if not elsewhere or following <= total * chance:
            return False
        share = following / total
        return following * log(share / chance) + elsewhere * log((1 - share) / (1 - chance)) > _LEAST_LOG_ODDS
