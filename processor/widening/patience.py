"""Asks Kafka before the work begins: again, until it answers or the start has taken too long."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from processor.errors import RetryError, UnreachableError
from processor.settings import Settings

_PAUSE_S: Final = 0.2
_Answer = TypeVar("_Answer")


def patiently(settings: Settings, ask: Callable[[], _Answer]) -> _Answer:
    """Return the answer. Raises UnreachableError if there is none within startup_timeout_s, and what `ask` raises."""
    deadline_s = time.monotonic() + settings.startup_timeout_s
    while True:
        try:
            return ask()
        except RetryError as error:
            if time.monotonic() >= deadline_s:
                raise UnreachableError(str(error)) from error
            time.sleep(_PAUSE_S)
