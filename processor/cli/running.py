"""`order-facts run` and `order-facts check`."""

import gc
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

from processor import startup
from processor.adapters.contact_index import IndexNotReadyError
from processor.cli.options import CONNECTION, REDIS, with_settings
from processor.domain.identifiers import CONTACT_ID
from processor.domain.records import Identifier
from processor.errors import OrderFactsError, RetryError, UsageError
from processor.logs import get_logger, show_kafka_client
from processor.service import Service
from processor.settings import Settings

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


@click.command()
@with_settings()
def run(settings: Settings) -> None:
    """Process order events until SIGTERM or SIGINT.

    Any number of replicas may run, each with its own --instance-id. A stop finishes or aborts the batch in
    hand, leaves the group and exits with 0. SIGUSR1 ends the pause of a tripped breaker.
    """

    def work(stop: Stop) -> None:
        service = Service(settings)
        _calm_collector()
        stop.is_working = True
        signal.signal(signal.SIGUSR1, lambda _number, _frame: service.go_on.set())
        service.run(stop)

    serve(work)


def _calm_collector() -> None:
    """Have the garbage collector look once in some batches, and at nothing that was there before the first.

    It looks after 700 new containers by default, 50 times a batch, and finds nothing, as nothing on the way of an
    event is part of a cycle: 6% of a busy replica's time, measured.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)


@click.command()
@with_settings("events_topic", "contacts_topic", "facts_topic", "rejected_topic", "group_id", *CONNECTION, *REDIS)
def check(settings: Settings) -> None:
    """Check the configuration and what it needs; one line for each finding.

    Exits with 0 where all is well, 1 where something is wrong, 2 for a setting, 3 where a service does not
    answer.
    """
    try:
        found = startup.check(settings)
    except OrderFactsError as error:
        if not isinstance(error, UsageError):
            click.echo("ok       settings")
        click.echo(f"problem  {error}")
        raise click.exceptions.Exit(error.exit_code) from error
    click.echo("ok       settings")
    topics = found.topics
    click.echo(f"ok       Kafka at {settings.bootstrap_servers}, cluster {found.lineage.cluster_id}")
    click.echo("ok       Redis, with maxmemory-policy noeviction")
    click.echo(
        f"ok       topics: {topics.events.name}, {topics.facts.name} and {topics.rejected.name} with "
        f"{topics.events.partitions} partitions each, {topics.contacts.name} with {topics.contacts.partitions}"
    )
    try:
        found.index.find(Identifier(CONTACT_ID, "-"))
    except IndexNotReadyError as error:
        click.echo(f"problem  {error}; orders wait until then")
        raise click.exceptions.Exit(1) from error
    except RetryError as error:
        click.echo(f"problem  {error}")
        raise click.exceptions.Exit(3) from error
    click.echo("ok       the contact index is complete")
