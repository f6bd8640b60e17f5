"""Who is in which segment by the topic's records, and what has to be written so that it says what a query found.

Pure: takes records and members, gives changes. A record's key is the segment's name, a slash and the contact's id, as
UTF-8; the last record of a key decides, a null value says that the contact left. Keys of segments that are not asked
for, and keys of another form, are left alone.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, NamedTuple

from processor.domain.records import Record

ANY_PARTITION: Final = -1  # that of the key, as the client's partitioner says
_SLASH: Final = b"/"


class Change(NamedTuple):
    """A record to write: of a contact that entered a segment, or with `contact_id` None of one that left."""

    segment: str
    key: bytes
    partition: int
    contact_id: str | None


def key_of(segment: str, contact_id: str) -> bytes:
    """Return the key of a member's record."""
    return f"{segment}/{contact_id}".encode()


class Held:
    """What a topic says of some segments. It takes some 110 bytes of memory a member.

    A contact is a member if the last record of its key is one in any partition: a topic that got more partitions holds
    older members elsewhere than the partitioner puts new ones, and they stay there.
    """

    def __init__(self, segments: Collection[str], is_sound: Callable[[bytes, bytes], bool]) -> None:
        """`is_sound` says whether a value (the second) is that of a member with a key (the first)."""
        self._segments = {segment.encode(): segment for segment in segments}
        self._is_sound = is_sound
        self._places: dict[bytes, tuple[int, ...]] = {}  # of members: the partitions
        self._left: dict[bytes, int] = {}  # of those who left: the partition, which a new entry has to follow
        self._spoiled: set[tuple[bytes, int]] = set()  # key and partition of members whose value is none
        self._alone: dict[int, tuple[int]] = {}
        self.foreign = 0

    def note(self, record: Record) -> None:
        """Take a record; those of a partition come in their order."""
        key, partition = record.key, record.partition
        name, slash, contact_id = (key or b"").partition(_SLASH)
        if key is None or not slash or not _is_text(name) or not _is_text(contact_id):
            self.foreign += 1
            return
        if name not in self._segments:
            return
        before = self._places.get(key, ())
        if record.value is None:
            if left := tuple(place for place in before if place != partition):
                self._places[key] = left
            else:
                self._places.pop(key, None)
            self._left[key] = partition
            self._spoiled.discard((key, partition))
            return
        if not before:
            self._places[key] = self._alone.setdefault(partition, (partition,))
        elif partition not in before:
            self._places[key] = (*before, partition)
        if self._is_sound(key, record.value):
            self._spoiled.discard((key, partition))
        else:
            self._spoiled.add((key, partition))

    def changes(self, members: Mapping[str, Collection[str]]) -> Iterator[Change]:
        """Yield what makes the topic say that exactly these contacts are in these segments. Uses this object up.

        A member whose value cannot be read counts as one that enters.
        """
        for segment, contact_ids in members.items():
            for contact_id in contact_ids:
                key = key_of(segment, contact_id)
                places = self._places.pop(key, None)
                if places is None:
                    yield Change(segment, key, self._left.get(key, ANY_PARTITION), contact_id)
                elif self._spoiled:
                    spoiled = (place for place in places if (key, place) in self._spoiled)
                    yield from (Change(segment, key, place, contact_id) for place in spoiled)
        for key, places in self._places.items():
            segment = self._segments[key.partition(_SLASH)[0]]
            yield from (Change(segment, key, place, None) for place in places)
        self._places = {}


def _is_text(given: bytes) -> bool:
    try:
        given.decode()
    except UnicodeDecodeError:
        return False
    return True
