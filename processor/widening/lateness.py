"""Whether events come to the old topic after its copy was finished: a producer that was not stopped, or sent late."""

from collections.abc import Mapping

from processor.errors import StopError
from processor.kafka.cluster import Cluster
from processor.state.event_copies import Copied, Place
from processor.widening.copy_options import Job
from processor.widening.copy_session import late_events, require_count
from processor.widening.patience import patiently


class Lateness:
    """Watches one old topic beyond the `places` at which its copy ends."""

    def __init__(self, job: Job, cluster: Cluster, places: Mapping[int, Place]) -> None:
        self._job, self._cluster, self._places = job, cluster, places
        self._ends = {partition: place.offset for partition, place in places.items()}

    def require_none(self) -> None:
        """Raise StopError if an event came; UnreachableError if Kafka does not say."""
        patiently(self._job.names.former, self._look)

    def _look(self) -> None:
        former = self._job.former
        require_count(self._cluster, former)
        ends = self._cluster.ends(former.name, range(former.partitions))
        if ends == self._ends:
            return
        if late := late_events(self._job, self._cluster, Copied(self._places)):
            raise StopError(
                f"{late} events came to {former.name} after the copy was finished; stop the producer that still "
                "writes there, then run this again with --finish"
            )
        self._ends = ends  # only markers came
