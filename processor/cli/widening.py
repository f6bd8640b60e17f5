"""`order-facts topics widen`: the same events in a topic with more partitions."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from processor.cli.options import CONNECTION, WIRE, duration_ms, print_line, with_settings
from processor.cli.serving import Stop, logging_failures, serving
from processor.errors import UsageError
from processor.kafka.cluster import Cluster, Topic
from processor.settings import ENVIRONMENT_PREFIX, Settings
from processor.state.event_copies import Copied
from processor.widening.copier import Copier
from processor.widening.copy_options import Job
from processor.widening.former_group import FormerGroup
from processor.widening.lateness import Lateness
from processor.widening.new_names import Widened
from processor.widening.new_topics import create_topics, former_events, require_empty, shortened, to_set_back
from processor.widening.patience import patiently

_TOPICS: Final = ("events_topic", "facts_topic", "rejected_topic")
_LOOK_EVERY_S: Final = 0.5


@click.command()
@click.option("--suffix", metavar="TEXT", help="What the new names end in.  [-N, such as -24]")
@click.option("--finish", "is_finishing", is_flag=True, help="Copy the rest and end; the producers are stopped.")
@click.option(
    "--quiet",
    "quiet_ms",
    type=duration_ms("--quiet", "5s"),
    default="5s",
    metavar="TIME",
    help="With --finish: for how long no event may have come.  [5s]",
)
@click.option("--accept-loss", is_flag=True, help="Copy though retention removed events, and orders with them.")
@click.option("--accept-late", is_flag=True, help="Copy behind what producers wrote to the new topic already.")
@click.option(
    "--skip",
    "skips",
    metavar="PARTITION:OFFSET",
    multiple=True,
    help="Leave out this place, which the error names, if it cannot be read.",
)
@with_settings("partitions", "group_id", *_TOPICS, "log_stream", *CONNECTION, *WIRE)
def widen(
    settings: Settings,
    *,
    suffix: str | None,
    is_finishing: bool,
    quiet_ms: int,
    accept_loss: bool,
    accept_late: bool,
    skips: tuple[str, ...],
) -> None:
    """Copy the events to a new topic with more partitions, for a new deployment beside this one.

    Use the settings of `run`. It creates the new topics, like the old ones, and copies all events, each once: key,
    value, headers and timestamp stay, Kafka's own partitioner places them, each order's events stay in order. It
    follows until SIGTERM or SIGINT; killed at any moment, start it again. Producers and replicas go on meanwhile. The
    new deployment may run from the start.

    Once it has caught up, stop the producers and run it with --finish: that copies the rest, and prints the settings
    of the new deployment and when producers may write to the new topic. `verify --former-events --former-facts`
    then compares both.
    """
    if click.get_current_context().params["partitions"] is None:  # a default, or a variable, is meant for new topics
        raise UsageError("--partitions: say here how many the new topics get, such as --partitions 24")
    places = frozenset(_place(text) for text in skips)
    # A signal ends what is to finish at once, and not with exit code 0: a script may start the producers after it.
    with _finishing(settings) if is_finishing else serving(settings) as stop:
        names = Widened.of(settings, settings.partitions, suffix)
        cluster = Cluster(settings)
        cluster_id = cluster.wait()
        former = patiently(settings, lambda: former_events(names, cluster))
        group = FormerGroup(settings, cluster, cluster_id, former)
        before = group.partitions_before()
        if not is_finishing:
            _require_same_count(former, before)
        for topic in patiently(settings, lambda: list(create_topics(names, cluster))):
            how = "exists" if topic.factor is None else f"created with replication factor {topic.factor}"
            refused = f"; the brokers refused {topic.refused}" if topic.refused else ""
            print_line(f"{topic.name}: {how}, {topic.partitions} partitions{refused}".encode())
        if found := patiently(settings, lambda: shortened(names, cluster)):
            limits = " ".join(f"{name}={value}" for name, value in found.items())
            print_line(f"{names.new.events_topic}: {limits} may remove unread copies; set -1 until `verify`".encode())
        new = patiently(settings, lambda: cluster.required([names.new.events_topic]))[names.new.events_topic]
        job = Job(names, former, new, places, accept_loss, accept_late, quiet_ms / 1000, before)
        stop.is_working = True
        _copy(job, cluster, group, stop, is_finishing=is_finishing)


@contextmanager
def _finishing(settings: Settings) -> Iterator[Stop]:
    with logging_failures(settings):
        yield Stop()


# Here the setting is the command's own question: it must be answered on the command line.
_N = next(param for param in widen.params if isinstance(param, click.Option) and param.name == "partitions")
_N.metavar, _N.help = "N", "How many partitions the new topics get."


def _copy(job: Job, cluster: Cluster, group: FormerGroup, stop: Stop, *, is_finishing: bool) -> None:
    copier = Copier(job, cluster)
    try:
        copied = copier.take_over()
        if copied is None:
            patiently(job.names.former, lambda: require_empty(job.names, cluster))
        elif not is_finishing:
            _require_same_count(job.former, copied.partitions_before)
        if copied is not None and copied.is_finished and not _has_late(job, copier, copied):
            is_done = True
        elif copied is not None and copied.is_finished and not is_finishing:
            raise UsageError("--finish: the copy was finished; to copy what came since, add --finish")
        elif is_finishing:
            is_done = copier.finish(stop)
        else:
            copier.follow(stop)
            is_done = False
        places = copier.places() if is_done else {}
    finally:
        copier.close()
    if is_done:
        _tell_of_switch(job, cluster)
        _await_former(job, group, Lateness(job, cluster, places), stop)


def _require_same_count(former: Topic, before: int | None) -> None:
    if before not in {None, former.partitions}:
        raise UsageError(
            f"--finish: {former.name} had {before} partitions when its events were processed, and has "
            f"{former.partitions}, so that an order's events are in several; stop the producers and add --finish"
        )


def _has_late(job: Job, copier: Copier, copied: Copied) -> bool:
    """Say whether events came after the copy was finished."""
    late = copier.late(copied)
    if late:
        print_line(f"{late} events came to {job.former.name} after the copy was finished".encode())
    return late > 0


def _tell_of_switch(job: Job, cluster: Cluster) -> None:
    former, new = job.names.former, job.names.new
    print_line(f"all events of {former.events_topic} are copied; the settings of the new deployment:".encode())
    for name, value in job.names.new_settings().items():
        print_line(f"{ENVIRONMENT_PREFIX}{name.upper()}={shlex.quote(value)}".encode())
    if found := patiently(former, lambda: to_set_back(job.names, cluster)):
        names = " ".join(f"{name}={value}" for name, value in found.items())
        print_line(f"{new.events_topic} keeps and takes all copies; after `verify`, set back: {names}".encode())
    print_line(f"producers may write to {new.events_topic} now, with Kafka's own partitioner (murmur2)".encode())


def _await_former(job: Job, group: FormerGroup, lateness: Lateness, stop: Stop) -> None:
    """Say when the old group has processed everything, if it can."""
    name = job.names.former.group_id
    if group.partitions_before() not in {None, job.former.partitions}:
        print_line(f"the group {name} cannot process the rest: its topic was given partitions".encode())
        return
    if left := group.left():
        print_line(f"the group {name} has {left} events left; it is waited for, and need not be".encode())
    while (left := group.left()) and not stop.wait(_LOOK_EVERY_S):
        lateness.require_none()
    lateness.require_none()
    if left is None:
        print_line(f"the group {name} has processed nothing".encode())
    elif left == 0:
        print_line(f"the group {name} has processed all events: compare both with `verify`, then stop it".encode())


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise UsageError(f"--skip {text}: put a partition and an offset there, such as 0:17")
    return int(partition), int(offset)
