"""Looks up identifiers in the contact index (`contacts.shards` says what is in it), and whether a contact exists.

Every answer says whether the whole index is ready (C4). An index that is missing, incomplete, made for other settings,
or older than one already used raises instead of finding nobody. A shard that cannot be read is removed: the keeper then
rebuilds the index.
"""

import struct
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from processor.contacts import shards
from processor.contacts.shards import (
    INTENT,
    MARK,
    POSITION,
    SHARDS,
    Hashes,
    Mark,
    Position,
    UnreadableClaimsError,
    remove_shard,
    shard_of,
    winner_of,
)
from processor.domain.records import Identifier
from processor.errors import RetryError
from processor.kafka.cluster import Topic
from processor.settings import Settings
from processor.settings.rules import identification_of
from processor.state.line import Line, ask_readable, readable
from processor.state.servers import Servers
from processor.state.watermark import ContactsPosition


class IndexNotReadyError(RetryError):
    """The contact index is missing, incomplete or made for other settings: orders wait (C4)."""

    waiting_for = "contact_index"


def staleness(age_s: float, max_age_s: float) -> str | None:
    """Return what is wrong with an index of this age in one line, None if it is young enough."""
    if not max_age_s or age_s <= max_age_s:
        return None
    return (
        f"the contact index is {age_s:.0f} s old, more than contacts_max_age_s={max_age_s:g}, and newer contacts are "
        "not found: start `order-facts contacts index`, or wait until it has caught up"
    )


LookupPlan = Sequence[Sequence[Identifier]]  # each shard's identifiers, in the order of its reply


class Reading(msgspec.Struct, frozen=True):
    """What was found: contact ids by identifier, the position (next offsets) that the index had reached, and its time.

    `complete_at_ms` is when (wall clock of `contacts index`) the index last held the whole topic.
    """

    contacts: dict[Identifier, str]
    position: ContactsPosition
    complete_at_ms: int


class ContactIndex:
    """Looks identifiers up. `keys` are its shards' keys. Not for several threads at once."""

    def __init__(self, servers: Servers, settings: Settings, lineage: str, topic: Topic) -> None:
        self._servers = servers
        self._topic = topic
        self.keys = shards.shard_keys(lineage)
        self._hashes = Hashes(settings)
        self._phones = identification_of(settings).phones.name
        self._good_mark: bytes | None = None  # the last good mark: a batch compares it and decodes nothing
        self._positions: dict[bytes | None, Position] = {}
        self._used: ContactsPosition | None = None  # the greatest position of any index used so far (C4)

    def adopt(self, topic: Topic) -> None:
        """Take only an index of this topic from now on: the contacts topic as it is, which may have been recreated."""
        if topic.topic_id != self._topic.topic_id:
            self._good_mark = None
        self._topic = topic

    def add_lookups(self, line: Line, identifiers: Collection[Identifier]) -> LookupPlan:
        """Add one atomic read for each shard to a line: its mark, its position and the identifiers.

        Every batch reads all shards: the whole index must be ready (C4).
        """
        asked: list[list[Identifier]] = [[] for _ in range(SHARDS)]
        hashes: list[list[bytes]] = [[] for _ in range(SHARDS)]
        for identifier in dict.fromkeys(identifiers):
            digest = self._hashes.identifier(identifier)
            shard = shard_of(digest)
            asked[shard].append(identifier)
            hashes[shard].append(digest)
        for key, fields in zip(self.keys, hashes, strict=True):
            line.execute_command("HMGET", key, MARK, POSITION, *fields)
        return asked

    def read(self, plan: LookupPlan, replies: Sequence[Any]) -> Reading:
        """Return what the replies to a plan's commands say. Raises IndexNotReadyError (C4).

        An identifier that nobody claims has no entry. The position is the least of all shards, partition by partition:
        all records before it are in the index.
        """
        contacts: dict[Identifier, str] = {}
        found = self._sound(replies)
        for shard, (identifiers, (_, _, *values)) in enumerate(zip(plan, found, strict=True)):
            try:
                for identifier, value in zip(identifiers, values, strict=True):
                    if value is not None:
                        contacts[identifier] = winner_of(value)
            except UnreadableClaimsError as error:
                raise self._damage(shard, "an identifier's claims cannot be read") from error
        least = self._reached(found)
        return Reading(contacts, ContactsPosition(self._topic.topic_id, least.offsets), least.complete_at_ms)

    def claimed(self, digests: Iterable[bytes]) -> tuple[set[bytes], ContactsPosition]:
        """Return which hashes of identifiers find a contact, in a round trip of their own, and the index's position.

        Raises as `look`.
        """
        asked: list[list[bytes]] = [[] for _ in range(SHARDS)]
        for digest in dict.fromkeys(digests):
            asked[shard_of(digest)].append(digest)
        found = self._of_shards(asked)
        position = ContactsPosition(self._topic.topic_id, self._reached(found).offsets)
        values = (
            (digest, value)
            for names, (_, _, *some) in zip(asked, found, strict=True)
            for digest, value in zip(names, some, strict=True)
        )
        return {digest for digest, value in values if value is not None}, position

    def existing(self, contact_ids: Collection[str]) -> tuple[set[str], ContactsPosition]:
        """Return which of these contacts exist (D15), and the position, in a round trip of its own.

        It is as new as all that was read before. An identifier may have found a contact whose batch is still being
        written; if one of these contacts is in such a batch too, the index is not ready. Raises as `look`.
        """
        asked: list[list[tuple[str, bytes]]] = [[] for _ in range(SHARDS)]
        for contact_id in contact_ids:
            digest = self._hashes.contact(contact_id.encode())
            asked[shard_of(digest)].append((contact_id, digest))
        found = self._of_shards([(INTENT, *(digest for _, digest in wanted)) if wanted else () for wanted in asked])
        existing = set()
        for shard, (wanted, (_, _, *values)) in enumerate(zip(asked, found, strict=True)):
            for (contact_id, digest), entry in zip(wanted, values[1:], strict=True):
                if self._exists(shard, digest, entry, values[0] or b""):
                    existing.add(contact_id)
        return existing, ContactsPosition(self._topic.topic_id, self._reached(found).offsets)

    def _of_shards(self, fields: Iterable[Sequence[bytes]]) -> list[Any]:
        """Return each shard's mark, position and these fields of it, in one round trip. Raises as `look`."""
        commands = [("HMGET", key, MARK, POSITION, *names) for key, names in zip(self.keys, fields, strict=True)]
        return self._sound(ask_readable(self._servers, commands))

    def _exists(self, shard: int, digest: bytes, entry: bytes | None, intent: bytes) -> bool:
        """Return whether a contact exists by its entry, and the batch that its shard's writer is about to settle."""
        try:
            known = None if digest in intent else shards.exists(entry)
        except (ValueError, struct.error) as error:
            raise self._damage(shard, "a contact's entry cannot be read") from error
        if known is None:
            raise IndexNotReadyError(
                "the contact index is just changing a contact, and an event's order depends on whether that exists; "
                "`order-facts contacts index` settles it"
            )
        return known

    def _sound(self, replies: Sequence[Any]) -> list[Any]:
        """Return the shards' replies, all of one build that is complete and fits. Raises IndexNotReadyError (C4)."""
        found = readable(replies)
        if None in found:
            raise self._damage(found.index(None), "its key holds no hash")
        self._check_marks([reply[0] for reply in found])
        return found

    def _reached(self, found: Sequence[Any]) -> Position:
        """Return the position that all shards have reached. Raises IndexNotReadyError for one too old (C4)."""
        least = self._least({position for _, position, *_ in found})
        reached = ContactsPosition(self._topic.topic_id, least.offsets)
        if not reached.reaches(self._used):
            raise IndexNotReadyError(
                "the contact index is older than one that events were decided with (was Redis restored from an older "
                "copy?); `order-facts contacts index` brings it up to date"
            )
        self._used = reached
        return least

    def require(self, position: ContactsPosition | None) -> None:
        """Require an index that is not older than this position, used in this process or before."""
        if position is not None and position.topic_id == self._topic.topic_id:
            self._used = position.joined(self._used)

    def look(self, identifiers: Collection[Identifier]) -> Reading:
        """Look identifiers up, in a round trip of their own.

        Raises IndexNotReadyError, RetryError if Redis does not answer, StopError if it refuses.
        """
        line, found = Line(self._servers), list[Any]()
        plan = self.add_lookups(line, identifiers)
        line.send(found.extend)
        line.answers()
        return self.read(plan, found)

    def find(self, identifier: Identifier) -> str | None:
        """Return the id of the contact that has the identifier, or None. Raises as `look`."""
        return self.look([identifier]).contacts.get(identifier)

    def _damage(self, shard: int, problem: str) -> IndexNotReadyError:
        """Remove a shard that cannot be read; return the error for it."""
        remove_shard(self._servers, self.keys, shard, problem)
        return IndexNotReadyError(
            f"shard {shard} of the contact index is damaged ({problem}) and was removed; "
            "`order-facts contacts index` rebuilds the index"
        )

    def _check_marks(self, marks: Sequence[bytes | None]) -> None:
        """Raise IndexNotReadyError unless all shards are of one build that is complete and fits."""
        first = marks[0]
        is_one_build = marks.count(first) == len(marks)
        if is_one_build and first is not None and first == self._good_mark:
            return
        if not any(marks):
            raise IndexNotReadyError(
                "the contact index is empty; `order-facts contacts index` builds it, run with the same identifier_key "
                "and identification"
            )
        for shard, mark in enumerate(marks):
            if problem := self._problem(shards.read_as(Mark, mark)):
                raise IndexNotReadyError(f"{'' if is_one_build else f'shard {shard} of '}the contact index {problem}")
        if not is_one_build:
            raise IndexNotReadyError("the shards of the contact index are of different builds")
        self._good_mark = first

    def _problem(self, mark: Mark | None) -> str | None:
        """Return what is wrong with a mark, None if it is good."""
        if mark is None:
            return "is missing or has another format; `order-facts contacts index` builds it"
        if mark.topic_id != self._topic.topic_id:
            return (
                f"was built from another topic {self._topic.name} than the present one; once that holds all contacts, "
                "build it with: order-facts contacts index --accept-new-topic"
            )
        if mark.phones != self._phones:
            return (
                f"was built with {mark.phones}, these settings say {self._phones}: phone numbers would not be found; "
                "give `order-facts contacts index` the same settings and start it again: it rebuilds the index"
            )
        return None if mark.is_ready else "is being built"

    def _least(self, positions: set[bytes | None]) -> Position:
        """Return the least position, partition by partition. Nearly always all equal the last one."""
        known: dict[bytes | None, Position] = {}
        for raw in positions:
            position = self._positions.get(raw) or shards.read_as(Position, raw)
            if position is None:
                raise IndexNotReadyError("a shard of the contact index has no position")
            known[raw] = position
        if len({len(position.offsets) for position in known.values()}) > 1:
            raise IndexNotReadyError("the shards of the contact index have positions of different topics")
        self._positions = known
        return shards.least(known.values())
