"""`order-facts run`."""

import gc
import signal

import click

from processor.cli.options import with_settings
from processor.cli.serving import serving
from processor.replica.service import Service
from processor.settings import Settings


@click.command()
@with_settings()
def run(settings: Settings) -> None:
    """Process order events until SIGTERM or SIGINT.

    Run any number of replicas, each with its own --instance-id. A stop finishes or aborts the current batch,
    leaves the group and exits with 0. SIGUSR1 ends the pause of a tripped breaker.
    """
    with serving(settings) as stop:
        service = Service(settings)
        _calm_collector()
        stop.is_working = True
        signal.signal(signal.SIGUSR1, lambda _number, _frame: service.go_on.set())
        service.run(stop)


def _calm_collector() -> None:
    """Make the garbage collector run once in several batches, and skip everything created before the first.

    By default it runs after 700 new containers, 50 times a batch, and frees nothing: an event's objects form no
    cycles. That took 6% of a busy replica's time, measured.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)
