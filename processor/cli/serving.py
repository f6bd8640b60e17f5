"""What the commands that run until a signal share: the stop, and the line about an error that ends them."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final

import click

from processor.errors import OrderFactsError
from processor.logs import get_logger, show_kafka_client

_FRAMES: Final = 6  # of a defect's traceback


class Stop(threading.Event):
    """A request to stop. Until `is_working` there is nothing to finish: a signal ends the process at once."""

    is_working = False


def stop_on_signals() -> Stop:
    """Return an event that SIGTERM or SIGINT sets; a second signal ends the process at once."""
    stop = Stop()

    def note(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()  # no log line here: the signal may interrupt the writing of one
        if not stop.is_working:
            os._exit(0)

    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGINT, note)
    return stop


@contextmanager
def serving() -> Iterator[Stop]:
    """Give work the stop that ends it. Log an error that ends it too: operators read the log.

    Log a defect without the error's own text: that may quote an event.
    """
    sys.excepthook = _report_defect
    stop = stop_on_signals()
    show_kafka_client()
    try:
        yield stop
    except OrderFactsError as error:
        get_logger().error("service.failed", error=str(error), exit_code=error.exit_code)
        raise


def _report_defect(_kind: type[BaseException], defect: BaseException, trace: TracebackType | None) -> None:
    """Report an unexpected error: its type, its place in the program, and the record."""
    frames = traceback.extract_tb(trace)[: -_FRAMES - 1 : -1]
    path = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    places = "".join(f", at {place}" for place in getattr(defect, "__notes__", ()))
    line = f"a defect of this program, please report it: {type(defect).__name__} in {path}{places}"
    get_logger().error("service.failed", error=line, exit_code=1)  # Python exits with 1 after this
    click.echo(f"order-facts: {line}", err=True)
