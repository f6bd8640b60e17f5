"""Keys that come from lines, in bounded number: a hostile or foreign line may name anything."""

from collections.abc import Container, Sized
from typing import Final, Protocol

OTHERS: Final = "(others)"
_LONGEST: Final = 60


class _Keys(Sized, Container[str], Protocol):
    """What has keys, and a number of them."""


def counted(keys: _Keys, key: str, most: int) -> str:
    """Return the key under which something is kept: itself, cut to 60 characters, or OTHERS where there are `most`."""
    cut = key[:_LONGEST]
    return cut if cut in keys or len(keys) < most else OTHERS
