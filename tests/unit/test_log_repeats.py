"""Lines that repeat are summed: what is written, what is left out, and that nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.logs.line_repeats import MOST_ALIKE, WINDOW_S, Repeats


class Log:
    """A clock and the lines that were written by it."""

    def __init__(self):
        self.now_s = 100.0
        self.written = []
        self.repeats = Repeats(lambda: self.now_s)
        self.count = 0

    def log(self, level, event, **fields):
        """Log a line, and give what is written because of it."""
        self.count += 1
        line = {"timestamp": f"{self.count:06}", "level": level, "event": event, **fields}
        found = self.repeats.take(line)
        self.written += found
        return found

    def waiting(self, attempt, error="Redis did not answer"):
        """Log a wait as a replica does."""
        return self.log("warning", "service.waiting", waiting_for="redis", error=error, attempt=attempt)


@pytest.fixture
def log():
    """Give a log with a clock of its own."""
    return Log()


def test_equal_lines_in_a_row_are_written_once(log):
    """The first is written; after ten seconds the next says how many were left out."""
    assert len(log.log("warning", "breaker.tripped", cause="250 invalid events in a row")) == 1
    for _ in range(40):
        assert log.log("warning", "breaker.tripped", cause="250 invalid events in a row") == []
    log.now_s += WINDOW_S
    [line] = log.log("warning", "breaker.tripped", cause="250 invalid events in a row")
    assert line["repeated"] == 40


def test_lines_that_differ_in_numbers_are_alike(log):
    """Some are written, so that a reader sees attempts grow; the rest are summed, and the last one is not lost."""
    written = [line for attempt in range(30) for line in log.waiting(attempt)]
    assert [line["attempt"] for line in written] == list(range(MOST_ALIKE))
    log.now_s += WINDOW_S
    last, own = log.log("info", "service.stats")
    assert (last["attempt"], last["repeated"], own["event"]) == (29, 30 - MOST_ALIKE - 1, "service.stats")
    assert "repeated" not in own


def test_numbers_within_texts_do_not_make_lines_differ(log):
    """Durations, counts and offsets vary in the same trouble; names and addresses of brokers say which one has it."""
    for number in range(20):
        log.log("warning", "kafka.client", detail=f"FAIL kafka-1:9092/1: refused (after {number}ms, {number} more)")
    assert len(log.written) == MOST_ALIKE
    log.log("warning", "kafka.client", detail="FAIL kafka-2:9092/2: refused (after 3ms, 4 more)")
    assert len(log.written) == MOST_ALIKE + 1


@pytest.mark.parametrize(
    "other", [{"error": "another"}, {"waiting_for": "kafka"}, {"partition": 2}, {"partitions": [1, 2]}]
)
def test_another_text_or_place_is_another_line(log, other):
    """What fails elsewhere, or in another way, is seen at once."""
    fields = {"waiting_for": "redis", "error": "one", "partition": 1, "partitions": [1], "attempt": 1}
    for _ in range(3):
        log.log("warning", "service.waiting", **fields)
    assert len(log.written) == 1
    assert len(log.log("warning", "service.waiting", **fields | other)) == 1


def test_what_went_well_is_never_left_out(log):
    """Lines of information are facts, one for each thing: dashboards count them."""
    for _ in range(50):
        assert len(log.log("info", "batch.committed", records=1)) == 1


def test_an_end_is_written_after_what_it_ends(log):
    """A reader who sees that a wait is over has seen all of the wait; a sum never comes after it."""
    for attempt in range(9):
        log.waiting(attempt)
    summed, end = log.log("info", "service.resumed", waiting_for="redis", waited_ms=900)
    assert (summed["event"], summed["attempt"], summed["repeated"]) == ("service.waiting", 8, 9 - MOST_ALIKE - 1)
    assert end["event"] == "service.resumed"
    log.now_s += WINDOW_S
    assert len(log.log("info", "service.stats")) == 1


def test_waits_that_begin_and_end_many_times_a_second_write_little(log):
    """A service that answers one request and refuses the next: both lines are summed, and the last one stands last."""
    for turn in range(1_000):
        log.waiting(1, f"step {turn}")
        log.log("info", "service.resumed", waiting_for="redis", waited_ms=turn)
        log.now_s += 0.05
    assert len(log.written) <= 50 / WINDOW_S * 2 * (MOST_ALIKE + 2)
    rest = log.repeats.rest()
    assert (log.written + rest)[-1]["event"] == "service.resumed"


def test_the_end_of_a_process_writes_what_was_left_out(log):
    """Nothing is lost by a stop; the line about the end comes last."""
    for attempt in range(9):
        log.waiting(attempt)
    summed, end = log.log("info", "service.stopped", events=0)
    assert (summed["repeated"], end["event"]) == (9 - MOST_ALIKE - 1, "service.stopped")
    assert log.repeats.rest() == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.floats(0, 12)), max_size=60))
def test_each_line_stands_for_itself_and_those_left_out(turns):
    """Whatever comes when: lines and their sums are as many as came, of each kind, and in their order."""
    log = Log()
    for place, number, pause_s in turns:
        log.log("warning", "partition.stalled", partition=place, offset=number)
        log.now_s += pause_s
    log.written += log.repeats.rest()
    for place in range(4):
        own = [line for line in log.written if line["partition"] == place]
        assert sum(1 + line.get("repeated", 0) for line in own) == sum(turn[0] == place for turn in turns)
        assert [line["timestamp"] for line in own] == sorted(line["timestamp"] for line in own)


def test_many_kinds_take_no_memory_without_end(log):
    """A text that is new each time is remembered for a while, and not for ever."""
    for number in range(5_000):
        log.log("warning", "kafka.client", detail=f"name-{number:x}-{'a' * (number % 7)}")
    assert len(log.repeats._alike) <= 1_000
