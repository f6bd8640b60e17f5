"""Writes lines to a stream; what cannot be written is counted."""

import os
from typing import TextIO


class LineWriter:
    """Writes lines to a stream. A line that cannot be written is dropped and counted: events go on.

    A disk may be full, or the reader of a pipe gone. It writes to the file itself: a buffer would keep the line.
    """

    dropped = 0  # since the last line that was written
    total_dropped = 0  # of all writers

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_torn = False  # the last line was written in part

    def msg(self, message: str) -> None:
        """Write a line, or drop it."""
        try:
            self._write("\n" * self._is_torn + message + "\n")
            self.dropped, self._is_torn = 0, False
        except OSError:
            self.dropped += 1
            LineWriter.total_dropped += 1

    log = debug = info = warn = warning = error = critical = fatal = exception = msg

    def _write(self, text: str) -> None:
        try:
            number = self._stream.fileno()
        except (OSError, ValueError):  # a stream in memory
            self._stream.write(text)
            return
        left = text.encode(errors="backslashreplace")
        while left:
            count = os.write(number, left)
            left = left[count:]
            self._is_torn = bool(left)
