"""Proves what `watch` makes of lines: right sums, what lasts and since when, in any order, and from anybody's lines."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.logs import EVENTS
from processor.logs.profiles import PROFILES
from processor.watching.conditions import LASTING, STARTS, STOPS
from processor.watching.log_lines import Other, read
from processor.watching.quantiles import LEAST, MOST, RELATIVE_ERROR, Quantiles
from processor.watching.summary import summary
from processor.watching.watched import _KIND_OF_EVENT, _LATEST, Watched, kind_of
from tests.support.recorded_lines import batch, line, recorded, stats

NOON_S = 1_589_457_600.0
RECORDED = recorded()


def watched(*lines, window_s=None):
    """Give what is known from lines."""
    found = Watched(window_s)
    for one in lines:
        found.feed(one)
    return found


def shown(*lines, as_of_s=None, window_s=None):
    """Give what is shown of lines."""
    return summary(watched(*lines, window_s=window_s), as_of_s)


def troubles(*lines, as_of_s=None):
    """Give what is wrong: who, since which second after noon, the event."""
    return [(one.name, one.since_s - NOON_S, one.event) for one in shown(*lines, as_of_s=as_of_s).troubles]


def test_recorded_batches_add_up():
    """Events by outcome and reason are those of the lines, counted by another program."""
    lines = [json.loads(one) for one in RECORDED]
    batches = [one for one in lines if one["event"] == "batch.committed"]
    assert batches
    found = shown(*RECORDED)
    assert found.lines == len(lines)
    assert found.total.events == sum(one["records"] for one in batches)
    for outcome, rate in found.total.rates.items():
        assert rate * found.span_s == pytest.approx(sum(one[outcome] for one in batches))
    reasons = sum((Counter(one["reasons"]) for one in batches), Counter())
    assert {one.name: one.records for one in found.reasons} == reasons
    by_instance: Counter[str] = Counter()
    for one in batches:
        by_instance[one["instance"]] += one["records"]
    assert {one.name: one.events for one in found.replicas if one.events} == by_instance


def test_recorded_steps_are_close_to_the_exact_quantiles():
    """p50 and p99 of each step are within the histogram's error of the sorted values."""
    batches = [one for one in map(json.loads, RECORDED) if one["event"] == "batch.committed"]
    for step, (p50, p99) in shown(*RECORDED).total.steps_ms.items():
        values = sorted(one[f"{step}_ms"] for one in batches)
        assert p50 == pytest.approx(values[-(-len(values) // 2) - 1], rel=RELATIVE_ERROR)
        assert p99 == pytest.approx(values[-(-len(values) * 99 // 100) - 1], rel=RELATIVE_ERROR)


@given(st.lists(st.floats(0, 1e9), min_size=1), st.floats(0.001, 1))
def test_quantiles_are_within_their_error(values, share):
    """Any values, any share: within 1% of the exact one, in bounded memory; merged parts are the whole."""
    whole, first, second = Quantiles(), Quantiles(), Quantiles()
    for number, value in enumerate(values):
        whole.add(value)
        (first if number % 2 else second).add(value)
    exact = min(max(sorted(values)[max(0, -int(-share * len(values) // 1) - 1)], LEAST), MOST)
    assert whole.quantile(share) == pytest.approx(exact, rel=RELATIVE_ERROR * 1.001)
    first.merge(second)
    assert first.quantile(share) == whole.quantile(share)
    assert len(whole) <= 1_200


def test_no_value_has_no_quantile():
    """Without a batch there is nothing to say."""
    assert Quantiles().quantile(0.5) is None


_CHANGED = st.fixed_dictionaries(
    {},
    optional={
        "instance": st.sampled_from(("a", "b", 7, None)),
        "level": st.sampled_from(("error", [])),
        "partition": st.sampled_from((0, "x", None)),
        "partitions": st.sampled_from(([], 6, ["x", 1], {})),
        "facts": st.sampled_from((10, -1, 10**30, 1.5, "many")),
        "reasons": st.sampled_from(([], {"x": "y"}, None)),
        "commit_ms": st.sampled_from((0, -5, 10**30, "soon", 1e300)),
        "freshness_s": st.sampled_from((0, 3.5, None, "old")),
        "members": st.sampled_from(({"loyal": 3}, [], {"loyal": None})),
        "waited_ms": st.sampled_from((0, 10**20, None)),
        "repeated": st.sampled_from((3, "x")),
    },
)


@st.composite
def odd_lines(draw):
    """Give recorded lines in part, at other times, with other values, maybe of wrong types."""
    lines = []
    for one in draw(st.lists(st.sampled_from(RECORDED), max_size=30)):
        fields = json.loads(one) | draw(_CHANGED)
        second = draw(st.integers(0, 400))
        fields["timestamp"] = f"2020-05-14T12:{second // 60:02}:{second % 60:02}Z"
        lines.append(json.dumps(fields).encode())
    return lines


@given(odd_lines(), st.randoms(use_true_random=False), st.sampled_from((None, 60.0)))
def test_the_order_of_lines_does_not_matter(lines, random, window_s):
    """However lines are shuffled, as by files in another order, the same is shown: of all, and of the last minute."""
    before = shown(*lines, window_s=window_s)
    random.shuffle(lines)
    assert shown(*lines, window_s=window_s) == before


@given(st.integers(0, len(RECORDED)), st.integers(0, 2_000))
def test_any_prefix_can_be_shown(count, rest):
    """Lines that end anywhere, also in the middle of one, are shown; the torn one counts as not JSON."""
    torn = RECORDED[count][:rest] if count < len(RECORDED) else b""
    found = shown(*RECORDED[:count], torn)
    is_whole = torn == RECORDED[min(count, len(RECORDED) - 1)]
    assert (found.lines, found.not_json) == (count + bool(torn), int(bool(torn) and not is_whole))


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: json.dumps({"event": text, "x": [text]}).encode())
)
def test_no_bytes_are_an_error(content):
    """Whatever is in a line, it is counted at most once, and never an error."""
    found = shown(content)
    assert found.lines == (1 if content.strip() else 0)
    assert found.not_json + found.foreign == found.lines


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'{"a":' + b"[" * 100_000, Other.NOT_JSON),
        (b'{"event": "a", "timestamp": "2020-05-14T12:00:00Z", "n": 1e999}', Other.NOT_JSON),
        (b'{"event": "a"}', Other.FOREIGN),
        (b'{"event": 7, "timestamp": "2020-05-14T12:00:00Z"}', Other.FOREIGN),
        (b'{"event": "a", "timestamp": "0001-01-01T00:00:00+23:59"}', Other.FOREIGN),
        (b'{"event": "a", "timestamp": "9999-12-31T23:59:59-23:59"}', Other.FOREIGN),
        (b"Traceback (most recent call last):", Other.NOT_JSON),
        (b" \r", None),
    ],
)
def test_what_a_line_is_that_is_not_ours(content, what):
    """Depth, numbers beyond double, impossible times and other programs' lines."""
    assert read(content) is what


PREFIXES = [
    b"",
    b"[pod/order-facts-0/run] ",
    b"2020-05-14T12:00:00.000000001Z ",
    b"replica-1  | ",
    b"\x1b[36mreplica-1  |\x1b[0m ",
    b"2020-05-14T12:00:00.1Z stderr F ",
    b"Nov 30 12:00:00 host order-facts[7]: ",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_container_tools_are_passed_over(prefix):
    """kubectl, docker compose (also in colour), a container's own log file, journald: the line behind is read."""
    assert shown(prefix + batch(0) + b"\r").total.events == 50


@pytest.mark.parametrize("profile", ["ecs", "gcp", "otel"])
def test_lines_of_every_profile_are_read(profile):
    """What is shown of a log does not depend on the names that `log_profile` gives to its fields."""
    renamed = [json.dumps(PROFILES[profile].renamed(json.loads(one))).encode() for one in RECORDED]
    assert b'"timestamp"' not in renamed[0]
    assert shown(*renamed) == shown(*RECORDED)


def test_dockers_own_file_is_read():
    """A line of a json-file log holds the program's line as text."""
    packed = json.dumps({"log": batch(0).decode() + "\n", "stream": "stderr", "time": "2020-05-14T12:00:00Z"})
    assert shown(packed.encode()).total.events == 50


def waiting(second, **fields):
    """Give a line about a wait for Redis."""
    return line(second, "service.waiting", level="warning", waiting_for="redis", error="Redis: refused", **fields)


def test_a_wait_is_open_since_its_first_line_and_until_it_is_over():
    """Since when, through many attempts; a wait before it that ended does not count; once over it is a figure."""
    first = [waiting(0), line(5, "service.resumed", waiting_for="redis", waited_ms=5_000)]
    second = [waiting(second) for second in range(20, 400)]
    assert troubles(*first, *second) == [("replica-1", 20, "service.waiting")]
    found = shown(*first, *second, line(401, "service.resumed", waiting_for="redis", waited_ms=381_000))
    assert found.troubles == []
    assert [tuple(one) for one in found.waited] == [("run: redis", 2, 386_000, 381_000, False)]


@pytest.mark.parametrize("event", [event for event, lasting in LASTING.items() if lasting.command])
def test_a_start_ends_what_lasted(event):
    """A process that starts again has forgotten its waits, and whoever reads its lines too."""
    start = next(start for start, command in STARTS.items() if command == LASTING[event].command)
    assert troubles(line(0, event, partition=1)) == [("replica-1", 0, event)]
    assert troubles(line(0, event, partition=1), line(1, start)) == []


def test_a_partition_that_is_taken_away_is_no_longer_this_ones_trouble():
    """A rebalance gives a waiting partition to another replica, which tells of it itself."""
    lines = [line(0, "partition.waiting", partition=number, error="no schema") for number in (1, 2)]
    assert [one[1:] for one in troubles(*lines)] == [(0, "partition.waiting")] * 2
    revoked = line(1, "partition.revoked", partitions=[2], lost=False)
    assert [one.text for one in shown(*lines, revoked).troubles] == ["partition 1: no schema"]


def test_who_writes_nothing_is_silent():
    """Who wrote a line every ten seconds and writes none is in trouble, who stopped is not; their lag is not known."""
    lines = [stats(0, "a"), stats(0, "b"), line(1, "service.stopped", instance="b"), stats(31, "c", lag_records=5)]
    found = shown(*lines)
    assert [(one.name, one.state) for one in found.replicas] == [("a", "silent"), ("b", "stopped"), ("c", "runs")]
    assert [(one.name, one.event) for one in found.troubles] == [("a", "silent")]
    assert (found.total.lag_records, found.total.is_lag_least) == (5, True)


def test_events_that_are_late_without_a_reason_are_trouble():
    """Older than a minute, and nothing that lasts explains it: a hot partition, or too few replicas."""
    late = [line(at, "service.stats", freshness_s=age, lag_records=5_000) for at, age in ((0, 59.0), (10, 61.0))]
    assert troubles(late[0]) == []
    assert troubles(*late) == [("replica-1", -51, "orderfactsfreshnesslost")]
    assert shown(*late).troubles[0].text == "run: an event has waited since then, 5,000 wait; no line says why"
    waits = line(10, "service.waiting", waiting_for="redis")
    assert [event for *_, event in troubles(*late, waits)] == ["service.waiting"]
    assert troubles(*late, line(11, "service.stopped")) == []
    assert troubles(*late, line(20, "service.stats", freshness_s=0.0)) == []


def test_who_dies_in_its_first_seconds_is_silent():
    """Before its first line of totals; a publisher of segments has none, and may rest for hours."""
    assert troubles(line(0, "contacts.started"), as_of_s=NOON_S + 31) == [("replica-1", 0, "silent")]
    assert troubles(line(0, "segments.started"), as_of_s=NOON_S + 3_600) == []


def test_a_healer_that_stands_by_is_not_silent():
    """It has nothing to say every ten seconds, though it had while it healed."""
    lines = [line(0, "healer.stats", instance="h", waiting=1, sent=0, expired=0), line(100, "contacts.fresh", age_s=1)]
    assert troubles(*lines) == [("h", 0, "silent")]
    assert troubles(*lines, line(1, "healer.standby", instance="h")) == []


def test_a_failed_process_stays_failed_until_it_starts():
    """A stop after the failure does not hide it."""
    failed = line(0, "service.failed", level="error", error="put a number there", exit_code=2)
    assert troubles(failed, line(1, "service.stopped")) == [("replica-1", 0, "service.failed")]
    assert troubles(failed, line(2, "service.started")) == []


def test_the_total_is_the_oldest_event_and_the_sum_of_what_is_behind():
    """Freshness of all replicas is the worst of each one's; absent values are none."""
    found = shown(stats(0, "a", freshness_s=3.5, lag_records=10), stats(0, "b"), stats(0, "c", freshness_s=None))
    assert (found.total.freshness_s, found.total.lag_records, found.total.is_lag_least) == (3.5, 24, False)
    assert shown(stats(0, freshness_s=None)).total.freshness_s is None


def test_rates_of_a_live_view_are_those_of_the_last_minute():
    """Older events count in the totals, and no longer in the rates."""
    lines = [batch(second) for second in range(301)]
    found = shown(*lines, window_s=60.0, as_of_s=NOON_S + 300)
    assert found.total.events == 301 * 50
    assert found.total.rates["facts"] == pytest.approx(40, rel=0.02)
    later = shown(*lines, window_s=60.0, as_of_s=NOON_S + 400)
    assert later.total.rates["facts"] == 0
    assert next((one.name, one.records, one.rate) for one in later.reasons) == ("order_unknown", 301 * 6, 0)


def test_memory_does_not_grow_with_what_lines_name():
    """Of 1,000 instances 300 are kept, and the events of the others still count."""
    known = Watched(60.0)
    for number in range(1_000):
        known.feed(batch(number % 60, instance=f"pod-{number}", reasons={f"reason-{number}": 1}))
        known.feed(line(0, f"event-{number}", instance=f"pod-{number}", level="warning"))
    found = summary(known)
    assert found.total.events == 50_000
    assert (len(found.replicas), known.forgotten) == (300, 700)
    assert len(found.reasons) <= 65
    assert max(len(known.events), len(known.warned)) <= 501


def test_repeated_lines_that_were_left_out_count():
    """A line that stands for others says how many."""
    found = shown(waiting(0), waiting(9, repeated=12), waiting(3))
    assert [(one.event, one.times, one.names) for one in found.warned] == [("service.waiting", 15, ["replica-1"])]
    ends = [line(20, "service.resumed", waiting_for="redis", waited_ms=200)]
    assert [one[1:] for one in shown(*ends).waited] == [(1, 200, 200, False)]
    ends.append(line(30, "service.resumed", waiting_for="redis", waited_ms=300, repeated=4))
    assert [one[1:] for one in shown(*ends).waited] == [(6, 500, 300, True)]
    aborted = [line(second, "batch.aborted", level="warning", repeated=second) for second in (0, 8)]
    assert shown(*aborted).notes == ["aborted: 10"]
    odd = [line(9, "batch.aborted", repeated=value) for value in (-5, "many", None, True)]
    assert shown(*odd).notes == ["aborted: 4"]


def test_a_copier_says_how_far_it_is():
    """`topics widen` is a process of its own: what it copied, what is left, and what it waits for."""
    copied = {"records": 7_000, "records_per_s": 90.0, "lag_records": 50}
    found = shown(line(0, "widen.started"), line(10, "widen.stats", **copied), line(11, "widen.waiting", error="gone"))
    (copier,) = found.commands
    assert (copier.command, copier.says) == ("topics widen", "7,000 events copied, 50 behind")
    assert [trouble.text for trouble in found.troubles] == ["gone"]
    ended = shown(line(0, "widen.started"), line(11, "widen.waiting", error="gone"), line(12, "widen.stopped"))
    assert ended.troubles == []


def test_a_line_obeys_no_terminal():
    """Escape sequences in anybody's line are shown as what they are, characters that mean nothing."""
    found = shown(line(0, "service.waiting", level="error", error="\x1b[2Jgone\nand more", instance="\x1b[31m"))
    assert found.troubles[0].text == "\N{REPLACEMENT CHARACTER}[2Jgone\N{REPLACEMENT CHARACTER}and more"
    assert found.troubles[0].name == "\N{REPLACEMENT CHARACTER}[31m"


def test_every_event_that_is_looked_at_is_one_of_the_programs():
    """The tables name events as the program writes them; each has one writer, but for those that any command writes."""
    named = {*LASTING, *STARTS, *STOPS, *_KIND_OF_EVENT, *_LATEST} | {
        end for one in LASTING.values() for end in one.ended_by
    }
    assert named <= EVENTS.keys()
    assert {event for event in EVENTS if kind_of(event) is None} <= {
        *("service.failed", "service.stop_forced", "state.skipped"),
        *("kafka.client", "kafka.token_failed", "kafka.token_back"),
        *(f"partition.{what}" for what in ("unreadable", "readable", "waiting", "resumed")),
    }
