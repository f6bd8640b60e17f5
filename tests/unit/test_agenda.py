"""When a registry is asked for a schema: at once, then later each time, and how long an unknown one may still come."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from processor.registry.agenda import ASKED, FIRST_PAUSE_S, MISSING_FOR_S, MOST_AHEAD, MOST_PAUSE_S, Agenda

GRACE_S = 30.0
A, B = b"\0\0\0\0\1", b"\0\0\0\0\2"


@pytest.fixture
def agenda():
    """Give an empty agenda."""
    return Agenda(GRACE_S)


def taken(agenda, now_s):
    """Take everything that is due."""
    found = []
    while (due := agenda.next(now_s)) is not None:
        found.append(due[0])
    return found


def test_what_is_wanted_is_asked_for_at_once_and_only_once(agenda):
    """A schema is out at one worker only, however often it is wanted meanwhile."""
    for _ in range(3):
        agenda.want(A, 0.0, is_urgent=True)
    assert agenda.problem(A) == ASKED
    assert taken(agenda, 0.0) == [A]
    agenda.want(A, 0.1, is_urgent=True)
    assert taken(agenda, 100.0) == []
    agenda.known(A)
    assert len(agenda) == 0
    assert agenda.wait_s(0.0) is None


def test_what_somebody_waits_for_comes_before_what_is_looked_ahead_for(agenda):
    """Also if it was looked ahead for before, among thousands."""
    many = [b"\0" + number.to_bytes(4, "big") for number in range(10, 10 + MOST_AHEAD * 2)]
    for prefix in many:
        agenda.want(prefix, 0.0, is_urgent=False)
    assert len(agenda) == MOST_AHEAD
    agenda.want(many[4_000], 1.0, is_urgent=True)
    agenda.want(A, 2.0, is_urgent=True)
    order = taken(agenda, 2.0)
    assert order[:2] == [many[4_000], A]
    assert len(order) == len(set(order)) == MOST_AHEAD + 1


def test_made_up_ids_that_are_looked_ahead_for_take_two_questions_each(agenda):
    """One when they are seen and one at the end of the grace; what somebody waits for by then is asked for at once."""
    many = [b"\0" + number.to_bytes(4, "big") for number in range(100)]
    for prefix in many:
        agenda.want(prefix, 0.0, is_urgent=False)
    for prefix in taken(agenda, 0.0):
        agenda.not_there(prefix, 0.0, 0.0)
    assert taken(agenda, GRACE_S - 1) == []
    agenda.want(many[7], GRACE_S - 1, is_urgent=True)
    assert taken(agenda, GRACE_S - 1) == [many[7]]
    assert len(taken(agenda, GRACE_S)) == 99
    assert all(agenda.not_there(prefix, GRACE_S, GRACE_S) for prefix in many if prefix != many[7])


def test_failures_back_off_and_never_reject(agenda):
    """The pauses grow to a bound; no failure makes a schema missing, for a day."""
    now_s, pauses = 0.0, []
    agenda.want(A, now_s, is_urgent=True)
    while now_s < 86_400:
        assert taken(agenda, now_s) == [A]
        agenda.failed(A, now_s, "away")
        assert agenda.problem(A) == "away"
        pauses.append(agenda.wait_s(now_s))
        now_s += pauses[-1]
        assert not agenda.is_missing(A, now_s)
    assert pauses[0] <= FIRST_PAUSE_S
    assert pauses[0] < pauses[2] < pauses[5] <= max(pauses) <= MOST_PAUSE_S


def test_unknown_schema_is_given_up_at_the_end_of_the_grace_and_not_before(agenda):
    """The last question is asked when the grace is over: what came until then is known."""
    now_s, asked = 5.0, list[float]()
    agenda.want(A, now_s, is_urgent=True)
    while not asked or not agenda.is_missing(A, now_s):
        assert taken(agenda, now_s) == [A]
        asked.append(now_s)
        is_missing = agenda.not_there(A, now_s, now_s)
        assert is_missing == (now_s >= 5.0 + GRACE_S)
        now_s += agenda.wait_s(now_s) or 0.0
    assert asked[-1] == 5.0 + GRACE_S
    assert len(asked) > 4
    assert len(agenda) == 0


def test_outage_within_the_grace_lengthens_it(agenda):
    """A registry that is away when the grace ends is asked once more: its silence rejects nothing."""
    agenda.want(A, 0.0, is_urgent=True)
    assert taken(agenda, 0.0) == [A]
    assert not agenda.not_there(A, 0.0, 0.0)
    for now_s in (10.0, 40.0, 80.0):
        assert taken(agenda, now_s) == [A]
        agenda.failed(A, now_s, "away")
        assert not agenda.is_missing(A, now_s)
    assert taken(agenda, 100.0) == [A]
    assert agenda.not_there(A, 100.0, 100.0)


def test_answer_to_a_question_from_before_the_end_does_not_end_the_grace(agenda):
    """A slow answer says what the registry knew when it was asked."""
    agenda.want(A, 0.0, is_urgent=True)
    taken(agenda, 0.0)
    agenda.not_there(A, 0.0, 0.0)
    taken(agenda, 29.0)
    assert not agenda.not_there(A, 29.0, 39.0)
    assert taken(agenda, 39.0) == [A]
    assert agenda.not_there(A, 39.0, 39.1)


def test_missing_schema_is_remembered_for_a_while_and_then_asked_anew(agenda):
    """For 30 s nobody asks; then its grace begins again."""
    agenda.want(A, 0.0, is_urgent=True)
    taken(agenda, 0.0)
    agenda.not_there(A, 0.0, 0.0)
    taken(agenda, GRACE_S)
    agenda.not_there(A, GRACE_S, GRACE_S)
    assert agenda.is_missing(A, GRACE_S + MISSING_FOR_S - 0.1)
    end_s = GRACE_S + MISSING_FOR_S
    assert not agenda.is_missing(A, end_s)
    agenda.want(A, end_s, is_urgent=True)
    assert taken(agenda, end_s) == [A]
    assert not agenda.not_there(A, end_s, end_s)


def test_without_a_grace_the_first_answer_counts():
    """A command that shows what is there does not wait."""
    agenda = Agenda(0.0)
    agenda.want(A, 0.0, is_urgent=True)
    taken(agenda, 0.0)
    assert agenda.not_there(A, 0.0, 0.1)


class Asking(RuleBasedStateMachine):
    """Whatever is answered in whatever order: each schema is out at most once, and none is forgotten."""

    def __init__(self):
        super().__init__()
        self.agenda, self.now_s = Agenda(GRACE_S), 0.0
        self.open, self.out = set(), {}
        self.first_404 = {}

    @rule(prefix=st.sampled_from([A, B, b"\0\0\0\0\3"]), is_urgent=st.booleans())
    def want(self, prefix, is_urgent):
        """Somebody wants a schema, or looks ahead for it."""
        if not self.agenda.is_missing(prefix, self.now_s):
            self.agenda.want(prefix, self.now_s, is_urgent=is_urgent)
            self.open.add(prefix)

    @rule(seconds=st.integers(0, 320).map(lambda eighths: eighths / 8))
    def wait(self, seconds):
        """Time passes, in steps whose sums are exact."""
        self.now_s += seconds

    @rule()
    def take(self):
        """Take what is due, as a worker does."""
        due = self.agenda.next(self.now_s)
        if due is not None:
            assert due[0] in self.open
            assert due[0] not in self.out
            self.out[due[0]] = self.now_s

    @precondition(lambda self: self.out)
    @rule(data=st.data(), what=st.sampled_from(["known", "failed", "404"]))
    def answered(self, data, what):
        """Answer one question."""
        prefix = data.draw(st.sampled_from(sorted(self.out)))
        asked_s = self.out.pop(prefix)
        if what == "known":
            self.agenda.known(prefix)
            self.open.discard(prefix)
            self.first_404.pop(prefix, None)
        elif what == "failed":
            self.agenda.failed(prefix, self.now_s, "away")
        else:
            first = self.first_404.setdefault(prefix, self.now_s)
            is_missing = self.agenda.not_there(prefix, asked_s, self.now_s)
            assert is_missing == (asked_s >= first + GRACE_S)
            if is_missing:
                self.open.discard(prefix)
                del self.first_404[prefix]

    @invariant()
    def all_come_again(self):
        """Require a time for what nobody is asking for."""
        assert len(self.agenda) == len(self.open)
        if self.open - self.out.keys():
            wait_s = self.agenda.wait_s(self.now_s)
            assert wait_s is not None
            assert wait_s <= GRACE_S


TestAsking = Asking.TestCase
