"""`order-facts run`."""

import signal

import click

from processor.cli.options import with_settings
from processor.cli.serving import calm_collector, serving
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
        calm_collector()
        stop.is_working = True
        signal.signal(signal.SIGUSR1, lambda _number, _frame: service.go_on.set())
        service.run(stop)
