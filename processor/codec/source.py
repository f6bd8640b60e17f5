"""Source code of functions, as it is written from a schema."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def kind_of(schema: Any) -> str:
    """Return the name of a schema's type."""
    if isinstance(schema, list):
        return "union"
    return kind_of(schema["type"]) if isinstance(schema, dict) else str(schema)


class Source:
    """Lines of one function, indented as they are added, and names that occur once."""

    def __init__(self, *head: str) -> None:
        self.lines = ["", "", *head]
        self._depth = 1
        self._names = 0

    def add(self, *lines: str) -> None:
        """Add lines at the present depth."""
        self.lines += ["    " * self._depth + line for line in lines]

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """Go one level deeper."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def name(self, prefix: str) -> str:
        """Return a new variable."""
        self._names += 1
        return f"{prefix}{self._names}"
