"""The names of the new deployment: those of the old one with a suffix."""

import re
from typing import Final, Self

import msgspec

from processor.errors import UsageError
from processor.settings import Settings
from processor.settings.checks import check

_RENAMED: Final = ("events_topic", "facts_topic", "rejected_topic", "group_id")
_MOST_NAME: Final = 249  # Kafka's own limit
_SUFFIX: Final = re.compile(r"[A-Za-z0-9._-]{1,50}")


class Widened(msgspec.Struct, frozen=True):
    """The settings of the old and of the new deployment, and how many partitions the new one has.

    Contacts, their index and the healed topic are shared: a healed record names its group.
    """

    former: Settings
    new: Settings
    partitions: int

    @classmethod
    def of(cls, settings: Settings, partitions: int, suffix: str | None) -> Self:
        """Return the names; the suffix is `-N` unless one is given. Raises UsageError for one that fits no topic."""
        end = f"-{partitions}" if suffix is None else suffix
        if _SUFFIX.fullmatch(end) is None:
            raise UsageError(f"--suffix {end}: put up to 50 letters, digits, '.', '_' or '-' there, such as -24")
        names = {name: getattr(settings, name) + end for name in _RENAMED}
        new = msgspec.structs.replace(settings, **names)
        topics = [name for role, name in names.items() if role != "group_id"]
        if long := next((name for name in topics if len(name) > _MOST_NAME), None):
            raise UsageError(f"--suffix {end}: the name {long} is longer than {_MOST_NAME}; put a shorter suffix")
        try:
            check(new)
        except UsageError as error:
            raise UsageError(f"--suffix {end}: with it, {error}; put another suffix") from error
        return cls(settings, new, partitions)

    @property
    def suffix(self) -> str:
        """The suffix."""
        return self.new.group_id.removeprefix(self.former.group_id)

    def new_settings(self) -> dict[str, str]:
        """Return by name the settings that differ."""
        return {name: getattr(self.new, name) for name in _RENAMED}


def copier_id(settings: Settings) -> str:
    """Return the copier's transactional id. It ends in a slash, so it is no replica's."""
    return f"{settings.group_id}/widen/"
