"""The chaos suite's world with every process scraped: replicas, contact index, healer, and a publisher of segments."""

from contextlib import suppress

from msgspec.structs import replace
from redis import RedisError

from deploy.observability.panel import WAITING_GAUGES
from deploy.observability.panels import PANELS
from tests.chaos.faults import redis_flushed
from tests.chaos.world import PARTITIONS, REPLICAS, World
from tests.observability.servers import now_s
from tests.support.deployment import Deployment, await_condition
from tests.support.traffic import created

GROWN_S = 3


class SeenWorld(World):
    """Each process answers on the port that Prometheus scrapes under its name."""

    def __init__(self, prometheus, settings, folder, seed, kafka):
        self._prometheus = prometheus
        trips = replace(settings, breaker_window=200, breaker_max_invalid_ratio=0.1)  # the traffic has more than that
        super().__init__(trips, folder, seed, kafka)

    def made(self, settings, folder):
        """Give a deployment whose processes have an HTTP port each, by their names."""
        return SeenDeployment(self._prometheus, settings, folder)

    def begin(self):
        """Also publish a segment, all the while; have each process wait once, and replicas start behind."""
        super().begin()
        command = (
            "segments",
            "publish",
            "--data",
            str(self.deployment.folder / "snapshots"),
            "--every",
            "5s",
            "abandoned_carts",
        )
        segments = self.deployment.start(*command, name="segments")
        segments.await_line("segments.published")
        self._all_wait(segments)
        self._just_assigned()

    def workers(self):
        """Also lose what Redis holds, once there is something, so that facts are read again in each run."""
        return [*super().workers(), self._lose_mirror]

    def _lose_mirror(self, stop):
        while not stop.wait(0.1):
            lines = [line for replica in list(self.replicas.values()) for line in replica.lines()]
            if any(line["event"] == "mirror.caught_up" for line in lines):
                return
            if any(line["event"] == "batch.committed" and line["facts"] for line in lines):
                with suppress(RedisError):  # it is away: one of the faults
                    redis_flushed(self)
                stop.wait(5)

    def _all_wait(self, segments):
        """Stop the broker until each process waits: whether a fault makes it wait, hangs on the moment."""
        begin = now_s()
        self.kafka.pause()
        for replica in self.replicas.values():
            replica.await_line("service.waiting")
        self.index.await_line("contacts.waiting")
        self.healer.await_line("healer.waiting")
        segments.await_line("segments.waiting")
        for gauge in WAITING_GAUGES:
            await_condition(lambda gauge=gauge: self._prometheus.samples(f"{gauge} == 1", begin, now_s()), gauge)
        self.kafka.resume()

    def _just_assigned(self):
        """Start replicas on events that they cannot read yet: the panel shows an age that grows, for each partition."""
        for process in (self.index, *self.replicas.values()):
            process.stop()
        redis_flushed(self)  # without an index orders wait
        orders = [created(f"early{number}") for number in range(10 * PARTITIONS)]
        self.deployment.send(orders)
        self.brought += len(orders)
        for name in REPLICAS:
            self.start_replica(name)
        for name in REPLICAS:
            self.replicas[name].await_line("service.waiting", waiting_for="contact_index")
        begin = now_s()
        (panel,) = (panel for panel in PANELS if panel.title == "Freshness against the goal")
        ((expression, _),) = panel.metrics
        shown = f"count(({expression}) > {GROWN_S}) == {PARTITIONS}"
        await_condition(lambda: self._prometheus.samples(shown, begin, now_s()), shown)
        assert not any(replica.lines("batch.committed") for replica in self.replicas.values())
        self.start_index()
        self.index.await_line("contacts.ready")


class SeenDeployment(Deployment):
    """Each process serves HTTP on the port that Prometheus scrapes under its name."""

    def __init__(self, prometheus, settings, folder):
        super().__init__(settings, folder)
        self._prometheus = prometheus

    def start(self, *arguments, name, **changes):
        """Start a command with the port of its name."""
        return super().start(*arguments, name=name, http_port=self._prometheus.target(name), **changes)
