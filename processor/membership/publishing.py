"""`segments publish`: makes the topic of segments' members say what queries find in a snapshot.

1. Ask the snapshot for the members of all segments.
2. Take over from earlier publishers (`members_ledger`).
3. Read the topic whole.
4. Write who entered and who left, for all segments in one transaction; none if nobody did.

Whoever is killed at any point leaves the topic as before or as after; the next run does the rest.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path
from time import time
from zoneinfo import ZoneInfo

import msgspec

from processor.errors import UsageError
from processor.kafka.cluster import Cluster
from processor.kafka.ranges import Tell
from processor.membership.members_ledger import MembersLedger
from processor.membership.membership import Change
from processor.registry.wire import Wire
from processor.segments.queries import Query
from processor.segments.snapshot_session import session
from processor.settings import Settings
from processor.snapshots.snapshot import require_snapshot


class Segment(msgspec.Struct, frozen=True):
    """A segment to publish: its name, its query, the query's parameters."""

    name: str
    sql: str
    parameters: Mapping[str, str]


class Published(msgspec.Struct, frozen=True):
    """What a run found and wrote: by segment the members there are now, who entered, who left.

    `foreign` are records of the topic whose key is none of a member; they were left alone.
    """

    members: Mapping[str, int]
    entered: Mapping[str, int]
    left: Mapping[str, int]
    foreign: int


def segments_of(queries: Sequence[Query], given: Mapping[str, str]) -> tuple[Segment, ...]:
    """Return the segments of queries; parameters go to the only one.

    Raises UsageError for a name that no key can have, one that occurs twice, or parameters that do not fit.
    """
    if given and len(queries) > 1:
        raise UsageError(
            f"{next(iter(given))}=... with several segments: name one segment, or write a file of its own for each "
            "(`segments show` prints one to begin with)"
        )
    names = Counter(query.name for query in queries)
    for name, count in names.items():
        if problem := _name_problem(name):
            raise UsageError(f"no segment can be called {name!r}: {problem}; give a file NAME.sql")
        if count > 1:
            raise UsageError(f"two segments are called {name}; give each file its own name")
    return tuple(Segment(query.name, query.sql, query.filled(given)) for query in queries)


def _name_problem(name: str) -> str | None:
    if name in {"", "-", ".sql"}:
        return "members are kept under the segment's name"
    if "/" in name:
        return "a slash ends the name in a record's key"
    return None if name.isprintable() else "it has characters that cannot be printed"


def members_of(settings: Settings, folder: Path, segments: Sequence[Segment], as_of: datetime) -> dict[str, list[str]]:
    """Return the members of segments, by name. Raises as `session` and its questions."""
    with session(require_snapshot(folder), as_of, ZoneInfo(settings.time_zone)) as asked:
        return {segment.name: asked.members(segment.sql, segment.parameters) for segment in segments}


def publish(settings: Settings, members: Mapping[str, Sequence[str]], as_of: datetime, tell: Tell) -> Published:
    """Publish once. Raises UnreachableError, RetryError or StopError; then nothing was written, or all was."""
    with closing(Wire(settings, settings.startup_timeout_s)) as wire:
        cluster = Cluster(settings)
        cluster.wait()
        with closing(MembersLedger(settings, cluster, wire)) as ledger:
            return write_difference(ledger, wire, members, as_of, tell)


def write_difference(
    ledger: MembersLedger, wire: Wire, members: Mapping[str, Sequence[str]], as_of: datetime, tell: Tell
) -> Published:
    """Do steps 2 to 4 with a ledger. Raises what its methods raise."""
    topic = ledger.topic()
    ledger.take_over()
    held = ledger.held(topic, members, tell)
    entered, left = Counter[str](), Counter[str]()
    changes = _counted(held.changes(members), entered, left)
    first = next(changes, None)
    if first is not None:
        value_of = partial(_value, wire, round(time() * 1000), int(as_of.timestamp() * 1000))
        ledger.write(chain((first,), changes), value_of)
    return Published({name: len(found) for name, found in members.items()}, entered, left, held.foreign)


def _counted(changes: Iterator[Change], entered: Counter[str], left: Counter[str]) -> Iterator[Change]:
    for change in changes:
        (left if change.contact_id is None else entered)[change.segment] += 1
        yield change


def _value(wire: Wire, since_ms: int, as_of_ms: int, segment: str, contact_id: str) -> bytes:
    return wire.encode_member({"segment": segment, "contactId": contact_id, "since": since_ms, "asOf": as_of_ms})
