"""Which answers of brokers are not believed: without ids, a past cannot be told from another one's."""

import pytest
from confluent_kafka import Uuid
from confluent_kafka.admin import ClusterMetadata

from processor.errors import StopError
from processor.kafka.cluster import known_cluster_id, known_topic_id


def test_a_topic_without_an_id_is_refused():
    """Brokers before 2.8 give all topics the same id, zero: a recreated topic would pass for the old one."""
    with pytest.raises(StopError, match=r"give the topic orders no id, .* use Kafka 2\.8 or newer"):
        known_topic_id("orders", Uuid(0, 0))
    for bits in ((0, 1), (1, 0), (-1, -1)):
        assert known_topic_id("orders", Uuid(*bits)) == str(Uuid(*bits))


def test_a_cluster_without_an_id_is_refused():
    """The state of two clusters that both have no id would be taken for one."""
    metadata = ClusterMetadata()
    for nothing in (None, ""):
        metadata.cluster_id = nothing  # type: ignore[assignment]
        with pytest.raises(StopError, match="do not say which cluster they are"):
            known_cluster_id(metadata)
    metadata.cluster_id = "x"  # type: ignore[assignment]
    assert known_cluster_id(metadata) == "x"
