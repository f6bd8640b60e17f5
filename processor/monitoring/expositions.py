"""The metrics of a process as text: Prometheus's format, or OpenMetrics. Each kind of process lists its own."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as _untyped_open_text

from processor.logs import dropped_lines
from processor.monitoring.memory import rss_bytes

PAUSE_S: Final = 0.1
_OPENMETRICS: Final = "application/openmetrics-text"
_PLAIN: Final = "text/plain"
_VERSIONS: Final = {_OPENMETRICS: "1.0.0", _PLAIN: "0.0.4"}
_open_text: Final[Callable[[CollectorRegistry], bytes]] = _untyped_open_text
_WEIGHT: Final = re.compile(r"[01](\.[0-9]{0,3})?")


def new_registry() -> CollectorRegistry:
    """Return a registry for one process's metrics, with those that every process has."""
    registry = CollectorRegistry()
    dropped = Gauge(
        "order_facts_dropped_log_lines", "Log lines since the start that could not be written.", registry=registry
    )
    dropped.set_function(dropped_lines)
    memory = Gauge("order_facts_rss_bytes", "Memory that this process holds.", registry=registry)
    memory.set_function(rss_bytes)
    return registry


class ByPartition:
    """A gauge with a sample for each partition that has a value when it is asked for, and none for any other."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._name, self._documentation = name, documentation
        self._values: Callable[[], Mapping[int, float]] = dict
        registry.register(self)

    def set_function(self, values: Callable[[], Mapping[int, float]]) -> None:
        """Take the values from a function, which any thread may call."""
        self._values = values

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the samples."""
        family = GaugeMetricFamily(self._name, self._documentation, labels=["partition"])
        for number, value in sorted(self._values().items()):
            family.add_metric([str(number)], value)
        yield family


class Exposition:
    """A registry's metrics as text, for whoever asks, on any thread.

    It is made at most ten times a second, however many ask: that takes time which the process's loop needs. Nobody gets
    what was made before he asked. A metric's lock is held while its value is read, and none while an answer is sent.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._last_s = float("-inf")  # when a text was last begun
        self._made: dict[str, tuple[float, bytes]] = {}  # by content type: when it was begun, and the text

    def __call__(self, accept: str) -> tuple[bytes, str]:
        """Return the text, and its content type: OpenMetrics 1.0 if the header `Accept` asks for it."""
        asked_s, is_open = time.monotonic(), _prefers_openmetrics(accept)
        kind = CONTENT_TYPE_OPENMETRICS if is_open else CONTENT_TYPE_PLAIN_0_0_4
        while True:
            with self._lock:
                made_s, text = self._made.get(kind, (float("-inf"), b""))
                if made_s >= asked_s:
                    return text, kind
                now_s = time.monotonic()
                if (pause_s := self._last_s + PAUSE_S - now_s) <= 0:
                    self._last_s = now_s
                    text = _open_text(self._registry) if is_open else generate_latest(self._registry)
                    self._made[kind] = now_s, text
                    return text, kind
            time.sleep(pause_s)


def _prefers_openmetrics(accept: str) -> bool:
    """Return whether a header `Accept` puts OpenMetrics 1.0 before plain text; at equal weight it is taken."""
    weights = {_OPENMETRICS: 0.0, _PLAIN: 0.0}
    for entry in accept.lower().split(","):
        kind, *options = (part.strip() for part in entry.split(";"))
        values = dict(option.split("=", 1) for option in options if "=" in option)
        if kind in weights and values.get("version", _VERSIONS[kind]) == _VERSIONS[kind]:
            weights[kind] = max(weights[kind], _weight(values.get("q", "1")))
    return weights[_OPENMETRICS] > 0 and weights[_OPENMETRICS] >= weights[_PLAIN]


def _weight(text: str) -> float:
    """Return a weight of a header `Accept`, 0 for one that is none."""
    return float(text) if _WEIGHT.fullmatch(text) else 0.0
