"""What the benchmarks' figures rest on: their input, their sums, their drawing. Nothing is measured here."""

import io
import os
from collections import Counter
from itertools import islice
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
from fastavro import schemaless_writer

from processor.codec.avro import codec
from processor.domain.batch import Fact, Rules
from processor.domain.identifiers import comparable
from processor.domain.phones import DIGITS
from processor.domain.pipeline import fold, read
from processor.domain.records import Record
from tests.benchmarks import load
from tests.benchmarks.bare import FACT, parsed
from tests.benchmarks.cores import Cores
from tests.benchmarks.figures import percentile, spread, spreads
from tests.benchmarks.kafka_streams import build
from tests.benchmarks.plot import bars
from tests.benchmarks.quix import environment
from tests.benchmarks.replicas import Turns, shares_of
from tests.benchmarks.report import shown
from tests.benchmarks.run import Sample, together
from tests.benchmarks.throughput import turns

COUNT = 20_000
CONTACTS = 500


@pytest.fixture(scope="module")
def records():
    """Give the benchmarks' input, shorter."""
    return list(load.Traffic(contact_count=CONTACTS).events(COUNT))


@pytest.fixture(scope="module")
def folded(records):
    """Give what becomes of the input, all in one partition."""
    contacts = {}
    for contact in load.contacts(CONTACTS):
        for name in load.identifiers(contact):
            field, _, value = name.partition(":")
            identifier = comparable(field, value, DIGITS)
            assert identifier is not None
            contacts[identifier] = contact["contactId"]
    inputs = [Record(0, number, number, sent.key, sent.value) for number, sent in enumerate(records)]
    return fold(read(inputs, codec().read_event, Rules()), {}, contacts, codec().encode_fact, Rules())


def test_the_same_seed_gives_the_same_bytes(records):
    """So that results of different days are of the same input."""
    assert records[:1_000] == list(load.Traffic(contact_count=CONTACTS).events(1_000))
    assert records[:1_000] != list(load.Traffic(seed=1, contact_count=CONTACTS).events(1_000))


def test_the_input_is_mixed_as_its_description_says(records, folded):
    """Types, sizes and the share of each kind of fault."""
    events = [codec().decode_event(sent.value) for sent in records if not sent.is_undecodable]
    kinds = Counter(event["eventTypeKey"] for event in events)
    for kind, percent in zip(load.KINDS, load.WEIGHTS, strict=True):
        assert kinds[kind] / COUNT == pytest.approx(percent / 100, abs=0.01)
    sizes = [len(sent.value) for sent in records if b"orderCreated" in sent.value[:40]]
    assert sum(sizes) / len(sizes) == pytest.approx(420, abs=15)
    reasons = {reason.value: count / COUNT for reason, count in folded.reasons.items()}
    assert reasons.pop("contact_not_found") == pytest.approx(0.01, abs=0.003)
    assert reasons.pop("order_unknown") == pytest.approx(0.01, abs=0.003)
    reasons.pop("no_change", None)
    assert reasons.keys() == {"undecodable", "invalid_parameter", "invalid_items", "missing_parameter"}
    assert sum(reasons.values()) == pytest.approx(0.01, abs=0.003)


def test_events_for_existing_orders_are_for_those_only():
    """Orders that the state holds already are found by their numbers, each on one of the contacts."""
    traffic = load.Traffic(contact_count=CONTACTS, existing=1_000, first=5_000)
    numbers = Counter(load.number_of(sent.key) for sent in islice(traffic.events(2_000), 2_000))
    assert sum(5_000 <= number < 6_000 for number in numbers) > 500
    assert min(numbers) >= 5_000


def test_the_bare_loop_writes_facts_of_the_usual_size(folded):
    """It would be cheaper with small ones."""
    values = [output.result.value for output in folded.outputs if isinstance(output.result, Fact)]
    schema, header = parsed("order-fact")
    buffer = io.BytesIO()
    own = {
        "externalOrderId": "SO-000000001",
        "eventTypeKey": "orderCreated",
        "sourcePartition": 1,
        "sourceOffset": 9_999,
    }
    times = dict.fromkeys(("createdAt", "updatedAt", "statusChangedAt"), 1_778_753_460_000)
    schemaless_writer(buffer, schema, {**FACT, **own, **times})
    assert values[0].startswith(header)
    usual = sum(map(len, values)) / len(values)
    assert len(header) + len(buffer.getvalue()) == pytest.approx(usual, rel=0.1)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (0.0, 1), (1.0, 100), (0.501, 51)]
)
def test_percentile_is_the_nearest_rank(share, expected):
    """The least value that so many are not above."""
    assert percentile(range(1, 101), share) == expected


def test_a_spread_passes_over_what_is_not_known():
    """A system that does not tell CPU time leaves nothing behind but a question mark."""
    assert spread([3, None, 1, 2]) == {"median": 2, "min": 1, "max": 3}
    assert spread([None]) is None
    assert spreads([{"a": 1, "b": None}, {"a": 3, "b": None}]) == {"a": {"median": 2, "min": 1, "max": 3}, "b": None}
    assert [shown(value) for value in (None, 1234.5, 9.876, {"median": 50, "min": 40.04, "max": 60})] == [
        "?",
        "1,234",
        "9.88",
        "50.0 (40.0 to 60.0)",
    ]


def test_cpu_while_all_are_at_work_leaves_out_the_start_and_the_end():
    """From 25% to 60% of the events, by the samples seen between."""
    samples = [Sample(at, at * 100, cpu) for at, cpu in enumerate((0.0, 9.0, 9.5, 9.6, 9.7, 9.8, 9.9, 20.0, 30.0))]
    assert together(samples, 1_000, 0) == pytest.approx((9.9 - 9.6) / 300 * 1e6)
    assert together(samples, 1_000, 500) == pytest.approx((30.0 - 20.0) / 100 * 1e6), "of the events after those before"
    assert together(samples[:3], 1_000, 0) is None, "one sample is none between"
    assert together([Sample(0, 300, None), Sample(1, 500, None)], 1_000, 0) is None, "the system does not tell"


def test_programs_take_turns_and_another_one_begins_each_time():
    """Three repetitions of three programs."""
    assert "".join(turns(SimpleNamespace(programs=["a", "b", "c"], repeat=3))) == "abcbcacab"


def test_replicas_have_one_core_then_as_many_as_there_are():
    """On one core the cost of taking turns, by the scheduler's and by long ones; on several the cost of being more."""
    together = ["1 on 1", "2 on 1", "4 on 1", "2 in turns on 1", "4 in turns on 1"]
    assert [str(share) for share in shares_of(1)] == together
    assert [str(share) for share in shares_of(2)] == [*together, "2 on 2", "4 on 2"]
    assert [str(share) for share in shares_of(8)] == [*together, "2 on 2", "4 on 4"]
    assert shares_of(8)[-2:] == [(2, 2, False), (4, 4, False)]


class Pausable:
    """Stands for a process that is measured: whether it may run."""

    runs = True

    def pause(self):
        """As a process."""
        self.runs = False

    def resume(self):
        """As a process."""
        self.runs = True


def test_replicas_in_turns_run_one_at_a_time_while_all_are_at_work():
    """From 25% to 60% of the events; each has as many turns as the others."""
    processes = [Pausable() for _ in range(3)]
    turns = Turns(turn_s=0.0)

    def at_work(done):
        turns(processes, done)
        return [number for number, process in enumerate(processes) if process.runs]

    assert at_work(0.1) == [0, 1, 2]
    assert sorted(at_work(0.3) + at_work(0.4) + at_work(0.5)) == [0, 1, 2]
    assert at_work(0.61) == [0, 1, 2]


def test_a_turn_has_its_length():
    """Looking more often changes nothing."""
    processes = [Pausable(), Pausable()]
    turns = Turns(turn_s=60.0)
    turns(processes, 0.3)
    runs = [process.runs for process in processes]
    turns(processes, 0.4)
    assert [process.runs for process in processes] == runs
    assert sum(runs) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no system call for it here")
def test_what_is_started_gets_the_core_asked_for():
    """The first core is the program's; the numbers of further ones go round and round."""
    allowed = os.sched_getaffinity(0)
    cores = Cores()
    try:
        cores.keep_to_services()
        found = []
        for number in range(cores.count + 1):
            with cores.on(number):
                found.append(os.sched_getaffinity(0))
        assert os.sched_getaffinity(0) == (cores.services or allowed)
    finally:
        os.sched_setaffinity(0, allowed)
    if len(allowed) > 1:
        assert found == [{core} for core in sorted(allowed)] + [{min(allowed)}]
    else:
        assert found == [allowed, allowed]


def test_the_plot_is_a_drawing_with_a_bar_a_row():
    """Well-formed, names escaped, the longest bar inside."""
    rows = [("a & b", spread([1, 2, 3])), ("order-facts", spread([5]))]
    drawing = ET.fromstring(bars('of "two"', rows))
    name = "{http://www.w3.org/2000/svg}"
    boxes = drawing.findall(f"{name}rect")[1:]
    assert len(boxes) == len(rows)
    assert float(boxes[1].attrib["x"]) + float(boxes[1].attrib["width"]) < int(drawing.attrib["width"])
    assert "a & b" in [text.text for text in drawing.findall(f"{name}text")]


def test_the_compared_programs_are_pinned():
    """By version, and the packages of Python by hash; no address of a registry is in the lock."""
    lock = environment.LOCK.read_text(encoding="utf-8")
    assert environment.version()
    assert "://" not in lock
    assert "--hash=sha256:" in lock
    assert "${kafka.version}" in (build.HERE / "pom.xml").read_text(encoding="utf-8")
