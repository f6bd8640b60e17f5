"""What the commands that run until a signal share: the stop, and the line about an error that ends them.

A thread of its own takes the signals: the main thread may be in a call that returns only when a service answers. A stop
that such a call holds up ends like a crash, which loses nothing.
"""

import gc
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

import click

from processor.cli.options import log_to
from processor.errors import OrderFactsError
from processor.logs import get_logger, show_kafka_client
from processor.settings import Settings

_FRAMES: Final = 6  # of a defect's traceback
_STOPS: Final = (signal.SIGTERM, signal.SIGINT)
_STOP_WITHIN_S: Final = 4.5  # of leaving the group, and of everything else that a service may hold up


class Stop(threading.Event):
    """A request to stop. Until `is_working` there is nothing to finish: a signal ends the process at once."""

    is_working = False


def stop_on_signals() -> Stop:
    """Return an event that SIGTERM or SIGINT sets. A second signal ends the process at once, and so does time."""
    stop = Stop()
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in _STOPS:
        signal.signal(number, lambda _number, _frame: None)  # instead of what it does by default
    threading.Thread(target=_take_signals, args=(stop, read_end), name="signals", daemon=True).start()
    return stop


def _take_signals(stop: Stop, read_end: int) -> None:
    """Set the stop at a first signal; end the process at a second one, or if the stop takes too long."""
    _await_stop(read_end, None)
    stop.set()
    if not stop.is_working:
        os._exit(0)
    second = _await_stop(read_end, _STOP_WITHIN_S)
    if second is not None:
        os._exit(128 + second)
    get_logger().warning("service.stop_forced", waited_ms=round(_STOP_WITHIN_S * 1000))
    os._exit(0)


def _await_stop(read_end: int, timeout_s: float | None) -> int | None:
    """Wait for a signal that asks for a stop, and return its number; None if none comes in time."""
    deadline_s = time.monotonic() + (float("inf") if timeout_s is None else timeout_s)
    while (left_s := deadline_s - time.monotonic()) > 0:
        ready, _, _ = select.select([read_end], [], [], None if timeout_s is None else left_s)
        number = os.read(read_end, 1)[0] if ready else 0
        if number in _STOPS:
            return number
    return None


@contextmanager
def serving(settings: Settings) -> Iterator[Stop]:
    """Give work the stop that ends it, and log as `logging_failures`."""
    stop = stop_on_signals()
    with logging_failures(settings):
        yield stop


@contextmanager
def logging_failures(settings: Settings) -> Iterator[None]:
    """Log to `log_stream`, and an error that ends the block too: operators read the log.

    Log a defect without the error's own text: that may quote an event.
    """
    sys.excepthook = _report_defect
    log_to(settings, getattr(sys, settings.log_stream))
    show_kafka_client()
    try:
        yield
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


def calm_collector() -> None:
    """Make the garbage collector run once in several batches, and skip everything created before the first.

    By default it runs after 700 new containers, 50 times a batch, and frees nothing: an event's objects form no
    cycles. That took 6% of a busy replica's time, measured.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)
