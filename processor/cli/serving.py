"""What the commands that run until a signal have in common: the stop, and the line that an error ends with."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final

import click

from processor.errors import OrderFactsError
from processor.logs import get_logger, show_kafka_client

_FRAMES: Final = 6  # of a defect's traceback


class Stop(threading.Event):
    """The wish to stop. Until `is_working` there is nothing to finish: a signal ends the process as it is."""

    is_working = False


def stop_on_signals() -> Stop:
    """Return an event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    stop = Stop()

    def note(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()  # and no log line: the signal may have come while one was being written
        if not stop.is_working:
            os._exit(0)

    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGINT, note)
    return stop


def serve(work: Callable[[Stop], None]) -> None:
    """Do work until a signal; an error that ends it is a log line too, where operators look.

    So is a defect, without the error's own text, which may hold what an event holds.
    """
    sys.excepthook = _tell_defect
    stop = stop_on_signals()
    show_kafka_client()
    try:
        work(stop)
    except OrderFactsError as error:
        get_logger().error("service.failed", error=str(error), exit_code=error.exit_code)
        raise


def _tell_defect(_kind: type[BaseException], defect: BaseException, trace: TracebackType | None) -> None:
    """Tell of an error that nobody foresaw: what it is, where in the program it showed, and at which record."""
    frames = traceback.extract_tb(trace)[: -_FRAMES - 1 : -1]
    path = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    places = "".join(f", at {place}" for place in getattr(defect, "__notes__", ()))
    told = f"a defect of this program, please report it: {type(defect).__name__} in {path}{places}"
    get_logger().error("service.failed", error=told, exit_code=1)  # Python's own, after this
    click.echo(f"order-facts: {told}", err=True)
