"""Which core does what: the program under test has one for itself, all the rest runs on the others.

Where the machine has a single core, or a system that cannot pin, nothing is pinned, and the results say so.
"""

import os
from contextlib import contextmanager


class Cores:
    """The division of this machine's cores; `program` and `services` are None where nothing is pinned."""

    def __init__(self):
        found = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._each = found if len(found) > 1 else []
        self.program = {found[0]} if self._each else None
        self.services = set(found[1:]) if self._each else None

    def __str__(self):
        if self.program is None:
            return "not pinned"
        return f"program on core {_text(self.program)}, services, sender and readers on {_text(self.services)}"

    def keep_to_services(self):
        """Keep this process, and what it starts, off the program's core."""
        if self.services is not None:
            os.sched_setaffinity(0, self.services)

    @property
    def count(self):
        """How many cores can be told apart."""
        return max(1, len(self._each))

    @contextmanager
    def everywhere(self):
        """Run what is started inside, and this process, on all cores."""
        if self.services is None:
            yield
            return
        os.sched_setaffinity(0, self._each)
        try:
            yield
        finally:
            os.sched_setaffinity(0, self.services)

    @contextmanager
    def on(self, number):
        """Start what is started inside on a core: 0 is the program's, then the others', round and round."""
        if self.services is None:
            yield
            return
        os.sched_setaffinity(0, {self._each[number % self.count]})  # of this thread, and inherited by what it starts
        try:
            yield
        finally:
            os.sched_setaffinity(0, self.services)


def _text(cores):
    numbers = sorted(cores)
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
