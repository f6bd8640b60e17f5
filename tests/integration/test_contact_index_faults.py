"""The contact index is exact whatever happens to its writer or to Redis between any two commands (C1, C3, C4).

The topic is held in memory, so that it can be compacted at any moment; Redis is real. What a clean build
from the topic would give is computed by the rules.
"""

import functools
import itertools
import secrets

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from processor.contacts.shards import SHARDS, Hashes, Position, lineage_of, shard_keys, shard_of, shared_key
from processor.contacts.writer import TOKEN_BYTES, standing
from processor.errors import RetryError, StopError
from processor.state.connection import connect
from tests.support.contact_index import (
    PARTITIONS,
    Crash,
    FaultyWriter,
    Topic,
    contents,
    expected_contents,
    mark_of,
    session,
    settle,
)

HISTORY = (
    # the same few phones move between contacts; b is deleted and comes back, d goes for good; c and d have records in
    # two partitions, the later one older or newer
    ("a", 10, ["1", "2"]),
    ("b", 20, ["2", "3"]),
    ("c", 20, ["2"], 0),
    ("d", 15, ["1", "4"], 1),
    ("a", 30, ["3"]),
    ("b", 31, None),
    ("a", 40, ["4", "5"]),
    ("d", 41, None, 0),
    ("b", 42, ["5", "1"]),
    ("c", 5, ["6"], 1),
    ("a", 50, ["6"]),
)

TAKEN = 2 * SHARDS  # commands until all shards are taken: writers read, shards taken
BUILT = TAKEN + SHARDS  # and until all shards are marked with the new build
BEGINNING = Position((0,) * PARTITIONS, 0)


class World:
    """One index in Redis, and what befalls it at numbered commands of its writers."""

    def __init__(self, client, settings, topic):
        self.client, self.servers = client, connect(settings)
        self.topic = topic
        self.hashes = Hashes(settings)
        self.lineage = lineage_of(secrets.token_hex(8), settings)
        self.keys = shard_keys(self.lineage)
        self.mark = mark_of(topic)
        self.commands = 0
        self.faults = {}
        self.sent = []
        self.damages = 0  # how often a shard was put back to something else than it was
        # of each of a shard's two keys: (number of the command before, dump)
        self.history: dict[str, list[tuple[int, bytes | None]]] = {key: [] for one in self.keys for key in both(one)}
        self.is_recorded = False

    def writer(self):
        """Give a new writer, as after a restart of the process."""
        return FaultyWriter(self.servers, self.lineage, self.hashes, secrets.token_bytes(TOKEN_BYTES), self.before)

    def before(self, arguments):
        """Do what is to happen before a command."""
        if self.is_recorded:
            self.record(arguments)
        self.commands += 1
        fault = self.faults.pop(self.commands, None)
        if fault is not None:
            fault()

    def record(self, arguments):
        """Keep what was sent, and the shard that the last command may have changed."""
        if self.sent and self.sent[-1][0] == "EVALSHA":
            for key in self.sent[-1][3:5]:
                self.history[key].append((self.commands, self.client.dump(key)))
        self.sent.append(arguments)

    def put_back(self, shard, commands_ago):
        """Put a shard back to how it was so many commands ago."""
        for key in both(shard):
            self.put_key_back(key, commands_ago)

    def put_key_back(self, key, commands_ago):
        """Put one of a shard's keys back to how it was so many commands ago, whatever the other one is."""
        before = self.client.dump(key)
        number = self.commands - commands_ago
        dumps = [dump for at, dump in self.history[key] if at <= number]
        if dumps and dumps[-1] is not None:
            self.client.restore(key, 0, dumps[-1], replace=True)
        else:
            self.client.delete(key)
        self.damages += self.client.dump(key) != before

    def assert_exact(self):
        """Compare the index with what the topic says."""
        found = contents(self.client, self.lineage, self.hashes, self.topic)
        assert found == expected_contents(self.lineage, self.hashes, self.topic)

    def remove(self):
        """Leave nothing in the shared Redis."""
        self.client.delete(*self.history)
        self.servers.close()


def both(key):
    """Give a shard's two keys."""
    return key, shared_key(key)


def history_topic(records=HISTORY):
    """Give a topic with these records."""
    topic = Topic()
    for record in records:
        topic.append(*record)
    return topic


def crash():
    """End the writer's process."""
    raise Crash


@pytest.mark.parametrize("is_compacted", [False, True], ids=["as it was", "compacted"])
@pytest.mark.parametrize(("first", "later"), [(5, 2), (3, 20)])
def test_c1_a_crash_between_any_two_commands_changes_nothing(redis_client, settings, first, later, is_compacted):
    """Wherever the writer dies, the next one ends with the very index of a clean build.

    It reads other batches than the one that died, and finds records gone that the dead one had half written.
    """
    whole = World(redis_client, settings, history_topic())
    session(whole.writer(), whole.topic, whole.mark, batch=first)
    whole.assert_exact()
    whole.remove()
    for number in range(1, whole.commands + 1):
        world = World(redis_client, settings, history_topic())
        world.faults[number] = crash
        with pytest.raises(Crash):
            session(world.writer(), world.topic, world.mark, batch=first)
        if is_compacted:
            world.topic.compact()
        cause = session(world.writer(), world.topic, world.mark, batch=later)
        assert (cause is None) == (number > BUILT)
        world.assert_exact()
        world.remove()


def test_c1_two_crashes_between_any_two_commands_change_nothing(redis_client, settings):
    """A crash during the repair of a crash is repaired as well, the topic having gone on and been compacted."""
    built = World(redis_client, settings, history_topic(HISTORY[:6]))
    session(built.writer(), built.topic, built.mark, batch=3)
    total = built.commands
    built.remove()
    moments = list(itertools.product(range(BUILT + 1, total, 13), range(20, 150, 11)))
    assert len(moments) > 50
    for one, two in moments:
        world = World(redis_client, settings, history_topic(HISTORY[:6]))
        world.faults[one] = crash
        with pytest.raises(Crash):
            session(world.writer(), world.topic, world.mark, batch=3)
        for record in HISTORY[6:]:
            world.topic.append(*record)
        world.faults[world.commands + two] = crash
        with pytest.raises(Crash):
            session(world.writer(), world.topic, world.mark, batch=2)
        world.topic.compact()
        assert session(world.writer(), world.topic, world.mark, batch=4) is None, "resumed, not built anew"
        world.assert_exact()
        world.remove()


def test_c1_a_replay_sets_no_contact_back(redis_client, settings):
    """After a crash between two shards' settling, the shards that are ahead pass over what they have."""
    world = World(redis_client, settings, Topic())
    ahead = next(name for name in "abcdef" if shard_of(world.hashes.contact(name.encode())) < SHARDS - 1)
    world.topic.append(ahead, 1, ["1"])
    world.topic.append(ahead, 2, ["2"])
    world.faults[BUILT + 3 * SHARDS] = crash  # before the last shard settles
    with pytest.raises(Crash):
        session(world.writer(), world.topic, world.mark, batch=2)
    writer = world.writer()
    writer.take()
    mark, position = standing(writer.shards)
    assert position == BEGINNING
    writer.level()
    for records, offsets in world.topic.read(position.offsets, 1):
        assert writer.write(records, Position(offsets, 0), mark).contacts == 0
        world.assert_exact()
    assert {shard.position for shard in writer.shards} == {Position(tuple(world.topic.ends), 0)}
    world.remove()


@pytest.mark.parametrize("parts", [2, 0, 1], ids=["a shard", "its hash", "its shared claims"])
@pytest.mark.parametrize("ago", [17, 40, 70])
def test_c4_a_shard_put_back_by_itself_is_noticed(redis_client, settings, ago, parts):
    """One shard restored while the others went on (a node's fail-over that lost writes) leaves no stale claim.

    Nor does one of its two keys that was restored without the other.
    """
    whole = World(redis_client, settings, history_topic())
    session(whole.writer(), whole.topic, whole.mark, batch=2)
    whole.remove()
    damages = 0
    for number in range(BUILT, whole.commands + 1, 9):
        world = World(redis_client, settings, history_topic())
        world.is_recorded = True
        shard = world.keys[number % SHARDS]
        if parts == 2:
            world.faults[number] = functools.partial(world.put_back, shard, ago)
        else:
            world.faults[number] = functools.partial(world.put_key_back, both(shard)[parts], ago)
        for _ in range(2):  # the second session begins where nothing is left to be read
            settle(world.writer, world.topic, world.mark, batch=2)
        world.assert_exact()
        damages += world.damages
        world.remove()
    assert damages > 3


RECORDS = st.tuples(
    st.sampled_from("abcd"),
    st.integers(-2, 5),
    st.none() | st.lists(st.sampled_from("1234"), max_size=3),
    st.none() | st.integers(0, PARTITIONS - 1),
)
FAULTS = st.tuples(
    st.integers(1, 250),
    st.sampled_from(
        [
            "crash",
            "late call",
            "wipe",
            "wipe a shard",
            "wipe a key",
            "put all back",
            "put a shard back",
            "put a key back",
        ]
    ),
    st.integers(0, 2 * SHARDS - 1),
    st.integers(0, 120),
)


def fault_of(world, kind, number, ago):
    """Give what a fault does."""
    shard, key = world.keys[number % SHARDS], [*world.history][number]

    def late_call():
        earlier = world.sent[-1 - ago % len(world.sent)]
        if earlier[0] == "EVALSHA":
            world.client.execute_command(*earlier)

    return {
        "crash": crash,
        "late call": late_call,
        "wipe": world.remove,
        "wipe a shard": lambda: world.client.delete(*both(shard)),
        "wipe a key": lambda: world.client.delete(key),
        "put all back": lambda: [world.put_key_back(one, ago) for one in world.history],
        "put a shard back": lambda: world.put_back(shard, ago),
        "put a key back": lambda: world.put_key_back(key, ago),
    }[kind]


@given_settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.lists(RECORDS, max_size=8), st.booleans(), st.integers(1, 6), st.lists(FAULTS, max_size=3)),
        min_size=1,
        max_size=4,
    )
)
def test_c1_c4_whatever_befalls_redis_the_next_session_makes_it_exact(redis_client, settings, steps):
    """Crashes, late calls, lost and restored shards, at any command: the index is repaired, or built anew."""
    world = World(redis_client, settings, Topic())
    world.is_recorded = True
    try:
        for records, is_compacted, batch, faults in steps:
            for record in records:
                world.topic.append(*record)
            if is_compacted:
                world.topic.compact()
            for number, kind, place, ago in faults:
                world.faults[world.commands + number] = fault_of(world, kind, place, ago)
            settle(world.writer, world.topic, world.mark, batch=batch)
        world.faults.clear()
        settle(world.writer, world.topic, world.mark, batch=3)
        world.assert_exact()
    finally:
        world.remove()


@pytest.mark.parametrize("number", range(TAKEN, BUILT + 2 * 3 * SHARDS, 7))
def test_c4_a_stale_writer_changes_nothing(redis_client, settings, number):
    """A writer that was held up before any of its commands finds the index taken over, and stops."""
    world = World(redis_client, settings, history_topic())
    successor = []

    def take_over():
        successor.append(session(world.writer(), world.topic, world.mark, batch=20))

    world.faults[number + 1] = take_over
    with pytest.raises(StopError, match="another contacts index took over"):
        session(world.writer(), world.topic, world.mark, batch=4)
    assert len(successor) == 1
    world.assert_exact()
    world.remove()


@pytest.mark.parametrize("number", range(SHARDS + 1, TAKEN + 1))
def test_c4_of_two_writers_that_start_at_once_one_stays(redis_client, settings, number):
    """Whoever comes later takes all shards, those that the other has just taken too; the other is told to stop."""
    world = World(redis_client, settings, history_topic())
    early, late = world.writer(), world.writer()
    world.faults[number] = late.take

    def start_and_build():
        early.take()
        early.build(world.mark, BEGINNING)

    with pytest.raises(StopError, match="another contacts index took over"):
        start_and_build()
    late.build(world.mark, BEGINNING)
    world.remove()


def test_c4_a_writer_never_takes_back_what_a_newer_one_holds(redis_client, settings):
    """After a lost connection the older writer stops, where a new process would take over."""
    world = World(redis_client, settings, history_topic())
    older = world.writer()
    last_id = older.take()
    newer = world.writer()
    newer.take()
    with pytest.raises(StopError, match="another contacts index took over"):
        older.take(last_id)
    newer.build(world.mark, BEGINNING)
    world.remove()


def test_a_lost_script_cache_ends_the_session_and_the_next_one_goes_on(redis_client, settings):
    """A Redis that forgot the scripts (a restart, a fail-over) is an error to retry; take-over reloads them."""
    world = World(redis_client, settings, history_topic())
    world.faults[60] = redis_client.script_flush
    with pytest.raises(RetryError, match="No matching script"):
        session(world.writer(), world.topic, world.mark, batch=4)
    settle(world.writer, world.topic, world.mark, batch=4)
    world.assert_exact()
    world.remove()
