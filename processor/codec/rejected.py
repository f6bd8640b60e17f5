"""A rejected record: the event as it came, with headers that say why and where it came from."""

from typing import Final

CUT_BYTES: Final = 64 << 10  # of a rejected record that the broker refuses: what is left of its value, or its key
