"""The tables of deploy/SIZING.md: figures that were measured, assumptions, and arithmetic from both.

A formula is a text that is both printed and evaluated, so that the page never shows another one than was used. In it
all times are seconds, all sizes bytes and all shares parts of 1. It may name figures, assumptions and the rows before.
Nothing here measures anything: a test compares each figure with the words of the page that it was taken from.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final, NamedTuple

from processor.replay.healing import MOST_WAITING
from processor.state.watermark import MAX_METADATA_BYTES

RATES: Final = (1_000, 10_000, 100_000, 1_000_000)
"""Events a second in the busiest hour."""
Rows = Iterator[Sequence[str]]
_BENCHMARKS: Final = "../tests/benchmarks/README.md"


class Stated(NamedTuple):
    """A figure or an assumption: its name in formulas, its value in a unit, and how many seconds or bytes the unit is.

    A figure has the heading that it stands under, then a table's row and column, or only words of the text.
    """

    name: str
    value: float
    unit: str
    scale: float
    what: str
    page: str = ""
    row: str = ""
    column: str = ""


class Row(NamedTuple):
    """A row of arithmetic: its name in later formulas, what it is, the formula, and the unit that it is shown in.

    A limit has the formula of what it may be at most.
    """

    name: str
    what: str
    formula: str
    unit: str = ""
    scale: float = 1
    most: str = ""


_REPLICAS: Final = (f"{_BENCHMARKS}#replicas-900000-events", "order-facts, 1 on 1")
_ORDERS: Final = (f"{_BENCHMARKS}#with-orders-in-the-state-100000-events", "10,000,000")
_IDENTIFIERS: Final = (f"{_BENCHMARKS}#with-identifiers-in-the-contact-index-100000-events", "10,000,000")
_LATENCY: Final = f"{_BENCHMARKS}#latency-at-1000-events-a-second-30-s"
_REBUILD: Final = f"{_BENCHMARKS}#mirror-rebuilt-in-an-empty-redis-284896-orders-from-284896-facts"
_BACKLOG: Final = f"{_BENCHMARKS}#memory-under-a-backlog"
_SAID: Final = f"{_BENCHMARKS}#what-the-figures-say"
_LOGS: Final = "README.md#logs"

FIGURES: Final = (
    Stated(
        "event", 34.0, "µs", 1e-6, "a replica's CPU for an event, at full load", *_REPLICAS, "the same, all at work"
    ),
    Stated(
        "event_light",
        333,
        "µs",
        1e-6,
        "the same at 1,000 events/s, where batches are small; start and stop included",
        _LATENCY,
        "order-facts",
        "CPU us an event",
    ),
    Stated("event_kafka", 3.63, "µs", 1e-6, "the broker's CPU for an event, one copy", *_REPLICAS, "Kafka us"),
    Stated("event_redis", 4.90, "µs", 1e-6, "Redis' CPU for an event, with 10,000,000 orders", *_ORDERS, "Redis us"),
    Stated(
        "input",
        1_633_732 / 5_000,
        "bytes",
        1,
        "an event, not compressed, in one batch of the demonstration",
        _LOGS,
        '"input_bytes": 1633732',
    ),
    Stated(
        "output",
        2_074_348 / 5_000,
        "bytes",
        1,
        "its fact or rejected record, not compressed, in that batch",
        _LOGS,
        '"output_bytes": 2074348',
    ),
    Stated("order_redis", 327, "bytes", 1, "an order in Redis, of 10,000,000", *_ORDERS, "bytes an order"),
    Stated("order_bytes", 265, "bytes", 1, "an order, encoded", _SAID, "an order 327 to 338 (265 encoded)"),
    Stated(
        "identifier_redis",
        79.6,
        "bytes",
        1,
        "an identifier in Redis, of 10,000,000",
        *_IDENTIFIERS,
        "bytes an identifier",
    ),
    Stated(
        "indexed",
        17_780,
        "a second",
        1,
        "contacts that `contacts index` takes in, of five identifiers each",
        *_IDENTIFIERS,
        "indexed contacts/s",
    ),
    Stated(
        "rebuilt",
        250_431,
        "a second",
        1,
        "facts that one replica reads into an empty mirror",
        _REBUILD,
        "rebuild",
        "facts/s",
    ),
    Stated("replica_memory", 217, "MiB", 2**20, "a replica's memory at most", _BACKLOG, "5,000,000", "peak MiB"),
    Stated("commit", 38.486, "ms", 1e-3, "commit of one batch of 5,000 events", _LOGS, '"commit_ms": 38.486'),
)

ASSUMED: Final = (
    Stated("mean", 0.1, "", 1, "a day's mean rate, by that of its busiest hour"),
    Stated("events_per_order", 2.5, "", 1, "events of one order, as in the benchmark's input (40% create one)"),
    Stated("orders_per_contact", 10, "", 1, "orders of one contact in all `days`"),
    Stated("identifiers", 5, "", 1, "identifiers of a contact, as in the benchmark's input"),
    Stated("early", 0.01, "", 1, "share of events whose contact is not there yet; they wait a day for it"),
    Stated("days", 30, "days", 1, "how long it has run"),
    Stated("kept", 7, "days", 1, "retention of events and rejected records; facts are not compacted sooner either"),
    Stated("copies", 3, "", 1, "copies of each topic"),
    Stated("load", 0.5, "", 1, "share of a replica's core, or of Redis' thread, that is planned for the busiest hour"),
    Stated(
        "turn",
        10,
        "ms",
        1e-3,
        "what a batch takes besides its events, such as the brokers' answers; a batch's cost follows from it",
    ),
    Stated("server", 256, "GB", 1e9, "memory that one Redis server has for data"),
    Stated("broker_rate", 50, "MB/s", 1e6, "what one broker writes, copies included"),
    Stated("broker_disk", 8, "TB", 1e12, "disk of one broker"),
    Stated("patience", 15, "min", 60, "how long orders may wait after Redis was lost"),
    Stated("core_price", 30, "$ a month", 1, "a core with 4 GB"),
    Stated("broker_price", 300, "$ a month", 1, "a broker with 8 cores and 32 GB, without its disk"),
    Stated("disk_price", 0.1, "$ a GB and month", 1e-9, "disk"),
    Stated(
        "memory_price", 10, "$ a GB and month", 1e-9, "Redis' memory; it is paid twice, for a primary and a replica"
    ),
    Stated("traffic_price", 0.02, "$ a GB", 1e-9, "traffic between zones: two thirds of all, with three zones"),
)

SIZES: Final = (
    Row("day_events", "events a day, million", "rate * mean * 86400", "", 1e6),
    Row("day_orders", "new orders a day, million", "day_events / events_per_order", "", 1e6),
    Row("orders", "orders held, million", "day_orders * days", "", 1e6),
    Row("contacts", "contacts, million", "orders / orders_per_contact", "", 1e6),
    Row(
        "memory",
        "Redis' memory",
        "orders * order_redis + contacts * identifiers * identifier_redis",
        "GB",
        1e9,
    ),
    Row("servers", "Redis servers, so deployments", "ceil(max(memory / server, rate * event_redis / load))"),
    Row("replicas", "replicas, of a core each", "servers * max(2, ceil(rate / servers * event / load))"),
    Row("rebuild", "building a lost contact index of each", "contacts / servers / indexed", "min", 60),
    Row("partitions", "partitions of each deployment", "max(12, 3 * replicas / servers)"),
    Row("written", "written by all brokers", "rate * (input + output) * copies", "MB/s", 1e6),
    Row("day_disk", "disk for a day, before compaction", "day_events * (input + output) * copies", "GB", 1e9),
    Row("day_compacted", "what stays of it: a fact an order", "day_orders * output * copies", "GB", 1e9),
    Row("disk", "disk held", "kept * day_disk + (days - kept) * day_compacted", "GB", 1e9),
    Row("brokers", "Kafka brokers", "ceil(max(copies, written / broker_rate, disk / broker_disk))"),
    Row("broker_cores", "their CPU, if each copy costs as much", "rate * event_kafka * copies", "cores"),
    Row(
        "network",
        "network, all links",
        "rate * ((input + output) * (copies + 1) + 2 * order_bytes)",
        "MB/s",
        1e6,
    ),
    Row("replicas_cost", "a month: replicas, index, healer", "(replicas + servers) * core_price", "$"),
    Row("brokers_cost", "a month: brokers", "brokers * broker_price", "$"),
    Row("disk_cost", "a month: disk", "disk * disk_price", "$"),
    Row("memory_cost", "a month: Redis", "2 * memory * memory_price", "$"),
    Row("traffic_cost", "a month: traffic between zones", "network * mean * 30 * 86400 * 2 / 3 * traffic_price", "$"),
    Row("cost", "**a month: all**", "replicas_cost + brokers_cost + disk_cost + memory_cost + traffic_cost", "$"),
)

GROUP: Final = (
    Row("members", "replicas in the group", "max(2, ceil(rate * event / load))"),
    Row("each", "partitions of each", "max(12, 3 * members) / members"),
    Row("batches", "transactions", "members * (1 - rate * event / members) / turn", "/s"),
    Row("ended", "transactions that a broker coordinates", "batches / brokers", "/s"),
    Row(
        "batch",
        "a replica's CPU for a batch, besides its events",
        "(event_light - event) * 1000 / ((1 - 1000 * event) / turn)",
        "ms",
        1e-3,
    ),
    Row("busy", "a replica's core", "(rate * event + batches * batch) / members", "%", 1e-2),
)
LIMITS: Final = (
    Row("build", "building a lost contact index", "contacts / indexed", "min", 60, "patience"),
    Row(
        "catch_up",
        "rebuilding lost mirrors, by one replica",
        "(kept * day_events + (days - kept) * day_orders) / rebuilt",
        "min",
        60,
        "patience",
    ),
    Row("healing", "events that wait for their contact, thousand", "day_events * early", "", 1e3, str(MOST_WAITING)),
    Row("filled", "memory of one Redis", "memory", "GB", 1e9, "server"),
    Row("thread", "one Redis' thread", "rate * event_redis", "%", 1e-2, "load"),
    Row(
        "offsets",
        "offsets, into one partition of `__consumer_offsets`",
        f"batches * each * {MAX_METADATA_BYTES}",
        "MB/s",
        1e6,
        "broker_rate",
    ),
    Row("contacts_partitions", "partitions, if the contacts topic has as many", "members * each", "", 1, "300"),
)


def figures() -> Rows:
    """Yield each figure: its name, value and meaning, and where it was measured."""
    yield "name", "value", "is", "measured"
    for figure in FIGURES:
        place = ", ".join(filter(None, (figure.row, figure.column)))
        yield f"`{figure.name}`", _stated(figure), figure.what, f"[`{place}`]({figure.page})"


def assumptions() -> Rows:
    """Yield each assumption: its name, value and meaning."""
    yield "name", "value", "is"
    for assumed in ASSUMED:
        yield f"`{assumed.name}`", _stated(assumed), assumed.what


def sizes() -> Rows:
    """Yield what each rate takes and costs: a row a resource, with its formula."""
    yield "events/s", *map("{:,}".format, RATES), "formula"
    at = [values(rate) for rate in RATES]
    for row in SIZES:
        yield row.what, *(_shown(found[row.name], row) for found in at), f"`{row.name} = {row.formula}`"


def limits() -> Rows:
    """Yield what one deployment would be, how near it comes to each limit, and from which rate on it exceeds it."""
    yield "events/s", *map("{:,}".format, RATES), "at most", "met at", "formula"
    at = [values(rate) for rate in RATES]
    for row in (*GROUP, *LIMITS):
        most = evaluated(row.most, at[0]) if row.most else math.inf
        cells = [_shown(found[row.name], row) for found in at]
        marked = [f"**{cell}**" if found[row.name] > most else cell for cell, found in zip(cells, at, strict=True)]
        ends = (_shown(most, row, 10), f"{float(f'{met_at(row):.2g}'):,.0f}") if row.most else ("", "")
        yield row.what, *marked, *ends, f"`{row.name} = {row.formula}`"


def values(rate: float) -> dict[str, float]:
    """Return every figure, assumption and row by its name, in seconds, bytes and parts of 1, for a rate."""
    known = {stated.name: stated.value * stated.scale for stated in (*FIGURES, *ASSUMED)} | {"rate": rate}
    for row in (*SIZES, *GROUP, *LIMITS):
        known[row.name] = evaluated(row.formula, known)
    return known


def evaluated(formula: str, known: dict[str, float]) -> float:
    """Return what a formula gives. Raises NameError for a name that is not known."""
    names = {"__builtins__": {}, "ceil": math.ceil, "max": max, **known}
    return float(eval(formula, names))  # noqa: S307 - the formulas are those of this file


@cache
def met_at(row: Row) -> int:
    """Return the rate from which on a limit is exceeded. What it limits must not fall again above that rate."""

    def is_exceeded(rate: int) -> bool:
        found = values(rate)
        return found[row.name] > evaluated(row.most, found)

    rates = range(1, 1_000_000_000)
    return rates[bisect_left(rates, x=True, key=is_exceeded)]


def _shown(value: float, row: Row, digits: int = 2) -> str:
    """Return a value in its row's unit: a count as it is, all else with so many significant digits."""
    is_count = not row.unit and row.scale == 1
    shown = value if is_count else float(f"{value / row.scale:.{digits}g}")
    return f"{shown:,.10g}{'' if row.unit == '%' else ' '}{row.unit}".strip()


def _stated(stated: Stated) -> str:
    return f"{round(stated.value, 2):,.10g} {stated.unit}".strip()
