"""The chaos suite's world with every process scraped: replicas, contact index, healer, and a publisher of segments."""

from msgspec.structs import replace

from tests.chaos.world import World
from tests.support.deployment import Deployment


class SeenWorld(World):
    """Each process answers on the port that Prometheus scrapes under its name."""

    def __init__(self, prometheus, settings, folder, seed, kafka):
        self._prometheus = prometheus
        trips = replace(settings, breaker_window=200, breaker_max_invalid_ratio=0.1)  # the traffic has more than that
        super().__init__(trips, folder, seed, kafka)

    def made(self, settings, folder):
        """Give a deployment whose processes have an HTTP port each, by their names."""
        return _SeenDeployment(self._prometheus, settings, folder)

    def begin(self):
        """Also publish a segment, all the while."""
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
        self.deployment.start(*command, name="segments")


class _SeenDeployment(Deployment):
    def __init__(self, prometheus, settings, folder):
        super().__init__(settings, folder)
        self._prometheus = prometheus

    def start(self, *arguments, name, **changes):
        return super().start(*arguments, name=name, http_port=self._prometheus.target(name), **changes)
