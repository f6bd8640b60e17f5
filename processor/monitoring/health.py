"""What a process says of its health. `health_server` gives it to whoever asks."""

import time
from typing import Final

# A turn may rightly take as long as a transaction's flush, its abort and a new producer's start, one after the other.
LIVE_WITHIN_S: Final = 60.0


class Health:
    """What the service says about itself; its loop writes it, the server's threads read it."""

    def __init__(self) -> None:
        self._turned_s = time.monotonic()
        self._missing: str | None = "starting"

    def turned(self) -> None:
        """Note that the loop turned."""
        self._turned_s = time.monotonic()

    def lacks(self, missing: str | None) -> None:
        """Note what the replica lacks to be ready (None: nothing)."""
        self._missing = missing

    def live(self) -> str | None:
        """Return None while the loop turns, else how long it has not."""
        still_s = time.monotonic() - self._turned_s
        return None if still_s < LIVE_WITHIN_S else f"the loop has not turned for {still_s:.0f} s"

    def ready(self) -> str | None:
        """Return None if all assigned partitions are placed and nothing is waited for, else what is missing.

        A member to which the group assigned nothing has nothing to do, and is ready: it is a spare.
        """
        return self.live() or self._missing
