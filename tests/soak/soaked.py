"""A deployment whose outputs are compared partition by partition: a long run's whole topics would need gigabytes."""

from processor.domain.records import Record
from processor.kafka.clients import reader
from processor.kafka.messages import record_of
from processor.kafka.ranges import read_range
from tests.support.comparison import Comparison
from tests.support.deployment import Deployment


class Soaked(Deployment):
    """A deployment after a long run. An order lives in its partition, so that each can be judged by itself."""

    _partition = None

    def read(self, topic):
        """Give all committed records of a topic: of the partition in hand, or all of the contacts topic."""
        if self._partition is None or topic == self.settings.contacts_topic:
            return super().read(topic)
        consumer, partitions = reader(self.settings), [self._partition]
        starts, ends = self.cluster.starts(topic, partitions), self.cluster.ends(topic, partitions)
        records = [record_of(message) for message in read_range(consumer, topic, starts, ends)]
        consumer.close()
        return records

    def compare(self):
        """Compare all partitions in turn, then the mirror."""
        comparison = Comparison()
        self._latest: dict[tuple[int, bytes], Record] = {}
        topic = self.settings.events_topic
        for partition in range(self.cluster.topics([topic])[topic].partitions):
            self._partition = partition
            comparison += super().compare()
        comparison.mismatches += super().mirror_differences(self._latest.values())
        return comparison

    def mirror_differences(self, facts):
        """Keep the partition's latest fact of every order: the mirror is compared when all are there."""
        self._latest |= {(record.partition, record.key): record for record in facts}
        return []
