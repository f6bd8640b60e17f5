"""Whether a refusal to start a partition is final, or the brokers may have answered before they knew.

A group coordinator that loads its log anew, after a broker was restarted under load, was seen to answer with offsets of
minutes ago (Kafka 4.1 says "the state machine of the coordinator is out of sync" and loads them again). So what is
refused soon after a failure is looked at again for a while; without one it is final at once.
"""

import time
from typing import Final

_AFTER_S: Final = 60.0  # how long a failure counts
_AGAIN_S: Final = 15.0  # how long the same is looked at again


class SecondLook:
    """Remembers failures and the refusal that is looked at again."""

    def __init__(self) -> None:
        self._failed_s = float("-inf")
        self._line = ""
        self._until_s = 0.0

    def failed(self) -> None:
        """Note that work failed and is begun anew."""
        self._failed_s = time.monotonic()

    def is_final(self, line: str) -> bool:
        """Return whether this line ends the program: it was not refused soon after a failure, or for long enough."""
        now_s = time.monotonic()
        if line != self._line:
            self._line = line
            self._until_s = now_s + _AGAIN_S if now_s - self._failed_s <= _AFTER_S else now_s
        return now_s >= self._until_s

    def settled(self) -> None:
        """Note that nothing is refused now."""
        self._line = ""
