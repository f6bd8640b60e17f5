"""When a partition that gives nothing counts as stalled, and when its records may just be waiting behind others."""

from processor.replica.lag import MOST_DOUBLINGS, MOST_PATIENCE, PATIENCE, Stalls

OFFSET = 7


def looks_until_due(stalls, *, is_idle=True, most=100_000):
    """Give how many looks at a partition that gives nothing it takes until it is to be placed again."""
    for look in range(1, most + 1):
        if stalls.look({0: OFFSET}, (), is_idle=is_idle):
            return look
    return None


def test_partition_that_gives_nothing_while_the_client_is_idle_is_due_soon():
    """The queue of the client runs empty, so nothing is before its records."""
    stalls = Stalls()
    assert stalls.stalled == set()
    assert looks_until_due(stalls) == PATIENCE
    assert stalls.stalled == {0}


def test_partition_behind_a_backlog_is_due_late():
    """While the queue never runs empty its records may be in there, or its turn to be fetched is still to come."""
    assert looks_until_due(Stalls(), is_idle=False) == MOST_PATIENCE


def test_partition_that_gives_something_is_never_due():
    """However slowly."""
    stalls = Stalls()
    for offset in range(100):
        for _ in range(PATIENCE - 1):
            assert stalls.look({0: offset}, (), is_idle=True) == set()
    assert stalls.stalled == set()


def test_partition_is_stalled_until_it_gives_something():
    """Also while it is owed its place, and after it was placed again."""
    stalls = Stalls()
    looks_until_due(stalls)
    assert stalls.look({}, {0}, is_idle=True) == set()
    assert stalls.look({0: OFFSET}, (), is_idle=True) == set()
    assert stalls.stalled == {0}
    stalls.look({0: OFFSET + 1}, (), is_idle=True)
    assert stalls.stalled == set()


def test_patience_doubles_so_that_a_slow_fetch_ends():
    """To place a partition again drops what is being fetched: at some time that must have been time enough."""
    stalls = Stalls()
    taken = [looks_until_due(stalls) for _ in range(MOST_DOUBLINGS + 3)]
    expected = [PATIENCE * 2 ** min(times, MOST_DOUBLINGS) for times in range(MOST_DOUBLINGS + 3)]
    assert taken == expected


def test_time_in_which_a_partition_is_owed_does_not_count():
    """An outage owes everything a place: what comes after it has the whole patience again."""
    stalls = Stalls()
    for _ in range(PATIENCE - 1):
        assert stalls.look({0: OFFSET}, (), is_idle=True) == set()
    assert stalls.look({}, {0}, is_idle=True) == set()
    assert looks_until_due(stalls) == PATIENCE


def test_partition_that_was_rewound_has_the_whole_patience_again():
    """What it had given is to be given once more."""
    stalls = Stalls()
    for _ in range(PATIENCE - 1):
        assert stalls.look({0: OFFSET + 1}, (), is_idle=True) == set()
    assert looks_until_due(stalls) == PATIENCE


def test_partition_that_has_given_all_is_forgotten():
    """A partition without records that wait is not stalled, nor one that was taken away."""
    stalls = Stalls()
    looks_until_due(stalls)
    assert stalls.look({}, (), is_idle=True) == set()
    assert stalls.stalled == set()
