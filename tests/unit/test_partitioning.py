"""Whether producers that partition keys in two ways are told from those that do it in one."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.records import Record
from processor.kafka.partitioning import MOST_KEYS, KeySample, murmur2, usual_partition


def crc32_partition(key, partitions):
    """Give the partition that librdkafka chooses by default."""
    return zlib.crc32(key) % partitions


def sample(partitions, keys_by_murmur2, keys_by_crc32):
    """Give a sample of keys of two producers."""
    found = KeySample(partitions)
    for choose, count in ((usual_partition, keys_by_murmur2), (crc32_partition, keys_by_crc32)):
        keys = [f"{choose.__name__}-{number}".encode() for number in range(count)]
        found.add(Record(choose(key, partitions), 0, 0, key, b"") for key in keys)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_is_kafkas(text, expected):
    """It gives the values of Kafka's own tests."""
    assert murmur2(text.encode()) == expected & 0xFFFFFFFF


@pytest.mark.parametrize("partitions", [2, 3, 6, 12, 100])
@pytest.mark.parametrize("count", [10, 256, 4_000])
def test_one_way_is_no_mix(partitions, count):
    """Whichever it is: by chance some keys of another rule are where murmur2 puts them."""
    assert not sample(partitions, count, 0).is_mixed()
    assert not sample(partitions, 0, count).is_mixed()


@pytest.mark.parametrize("partitions", [2, 3, 6, 12, 100])
@pytest.mark.parametrize(("by_murmur2", "by_crc32"), [(250, 20), (128, 128), (2_000, 20), (1_500, 1_500)])
def test_two_ways_are_a_mix(partitions, by_murmur2, by_crc32):
    """Also where one of them is rare."""
    found = sample(partitions, by_murmur2, by_crc32)
    assert found.is_mixed()
    assert sum(found.counts) == by_murmur2 + by_crc32


@given(st.lists(st.binary(max_size=20), max_size=40), st.integers(1, 9))
def test_keys_that_follow_are_never_a_mix(keys, partitions):
    """However few, with whatever keys, a null key aside."""
    found = KeySample(partitions)
    found.add(Record(usual_partition(key, partitions), 0, 0, key, b"") for key in keys)
    found.add([Record(0, 0, 0, None, b"")])
    assert not found.is_mixed()
    assert found.counts == (len(set(keys)), 0)


def test_a_hot_order_counts_once_and_memory_is_bounded():
    """A thousand events of one order are one key; a full sample takes no more."""
    found = KeySample(6)
    found.add(Record(0, 0, 0, b"hot", b"") for _ in range(1_000))
    assert sum(found.counts) == 1
    assert sum(sample(6, 5_000, 0).counts) == MOST_KEYS
