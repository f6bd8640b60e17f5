"""What becomes of a line: repeats are summed, its fields ordered, its message made, its names those of a profile."""

import atexit
import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, TextIO

from processor import __version__
from processor.logs.line_repeats import Repeats
from processor.logs.line_writer import LineWriter
from processor.logs.plain_structlog import dev, processors, structlog
from processor.logs.profiles import PROFILES
from processor.logs.published import DROPPED, MESSAGES, REPEATED

SERVICE: Final = "order-facts"
Line = MutableMapping[str, Any]


class _Words:
    """A line's values as a message shows them: lists without brackets, null in words; "?" for a missing field."""

    def __init__(self, line: Mapping[str, Any]) -> None:
        self._line = line

    def __getitem__(self, name: str) -> object:
        value = self._line.get(name, "?")
        if isinstance(value, dict):
            return ", ".join(f"{key} {number}" for key, number in value.items()) or "none"
        if isinstance(value, list | tuple):
            return ", ".join(map(str, value)) or "none"
        return "unknown" if value is None else value


def message_of(event: str, line: Mapping[str, Any]) -> str:
    """Return the sentence that says to people what a line says."""
    message = MESSAGES.get(event, event).format_map(_Words(line))
    return f"{message} (and {line[REPEATED]} more like this)" if REPEATED in line else message


class _Lines:
    """Makes lines and writes them."""

    def __init__(self, writer: LineWriter, instance: str, render: Callable[[Line], str]) -> None:
        self._writer = writer
        self._origin = {"service": SERVICE, "version": __version__, "instance": instance}
        self._render = render
        self._repeats = Repeats()

    def process(self, _logger: object, _method: str, line: Line) -> str:
        """Return a line's text; write what was left out before it. Raises DropEvent if this line is left out."""
        lines = self._repeats.take(line)
        if not lines:
            raise structlog.DropEvent
        for other in lines[:-1]:
            self._write(other)
        return self._text(lines[-1])

    def flush(self) -> None:
        """Write what was left out so far."""
        for line in self._repeats.rest():
            self._write(line)

    def _write(self, line: Line) -> None:
        self._writer.msg(self._text(line))

    def _text(self, line: Line) -> str:
        own = dict(line)
        timestamp, level, event = own.pop("timestamp"), own.pop("level"), own.pop("event")
        first = {"timestamp": timestamp, "level": level, "event": event, "message": message_of(event, line)}
        dropped = {DROPPED: self._writer.dropped} if self._writer.dropped else {}
        return self._render({**first, **self._origin, **own, **dropped})


def configure(
    log_format: str, level: str, instance: str, stream: TextIO = sys.stderr, profile: str = "default"
) -> None:
    """Send all log lines to `stream`: JSON lines, or coloured text with log_format=console, which has no profile."""
    writer = LineWriter(stream)
    lines = _Lines(writer, instance, _console(stream) if log_format == "console" else _json(profile))
    atexit.unregister(_flush)
    atexit.register(_flush, lines)
    structlog.configure(
        processors=[processors.add_log_level, processors.TimeStamper(fmt="iso", utc=True), lines.process],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,
    )


def _flush(lines: _Lines) -> None:
    lines.flush()


def _json(profile: str) -> Callable[[Line], str]:
    render: Any = processors.JSONRenderer()
    if profile == "default":
        return lambda line: str(render(None, "", line))
    renamed = PROFILES[profile].renamed
    return lambda line: str(render(None, "", renamed(line)))


def _console(stream: TextIO) -> Callable[[Line], str]:
    """Return what shows a line to people: its message first."""
    render: Any = dev.ConsoleRenderer(colors=stream.isatty(), event_key="message")
    return lambda line: str(render(None, "", line))


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return the logger. Its events and fields are those of `EVENTS`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


def dropped_lines() -> int:
    """Return how many log lines could not be written since the start."""
    return LineWriter.total_dropped
