"""The command `order-facts`: arguments in, exit code out. Other packages do the work.

Data goes to standard output; logs, progress and messages go to standard error. Exit codes: 0 done; 1 found
something wrong; 2 wrong usage or configuration; 3 a service could not be reached in time.
"""

import gc
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Final, NoReturn

import click
from confluent_kafka import KafkaException

from processor import __version__
from processor.errors import OrderFactsError, RetryError
from processor.kafka.failures import classify

_UNREACHABLE = 3
# A command's module has the command's name and is imported only for that command. Importing all of them, with their
# options, takes a fifth of the start of `run`, and a killed replica's orders wait until it has started again.
_COMMANDS: Final = (
    *(
        "check",
        "contacts",
        "events",
        "facts",
        "rejected",
        "run",
        "schemas",
        "segments",
        "state",
        "topics",
        "verify",
        "watch",
    ),
)


class _Commands(click.Group):
    """The commands, each imported only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command. An unknown name imports them all: the message names the nearest one."""
        gc.disable()  # it would scan all new objects and free nothing
        for name in [cmd_name] if cmd_name in _COMMANDS else _COMMANDS:
            if name not in self.commands:
                self.add_command(getattr(import_module(f"{__name__}.{name}"), name))
        gc.freeze()
        gc.enable()
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="order-facts")
def cli() -> None:
    """Turn an online shop's order events into order facts that marketers can segment by.

    \b
    A first session, on your own Kafka and Redis:
      export ORDER_FACTS_BOOTSTRAP_SERVERS=localhost:9092
      export ORDER_FACTS_REDIS_URL=redis://localhost:6379/0
      export ORDER_FACTS_IDENTIFIER_KEY=$(openssl rand -hex 32)
      order-facts topics create
      order-facts contacts import contacts.csv
      order-facts contacts index &
      order-facts run &
      order-facts events send events.jsonl
      order-facts facts show --follow

    Set each setting by an option, by the variable ORDER_FACTS_<NAME>, by a file that ORDER_FACTS_<NAME>_FILE
    names, or in the TOML file of --config.
    """  # noqa: D301 - \b is click's mark for a paragraph that keeps its lines


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    try:
        exit_code = cli.main(standalone_mode=False)  # that of `raise Exit(1)`; None from a command that returned
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (OrderFactsError, KafkaException) as raised:
        failure = raised if isinstance(raised, OrderFactsError) else classify(raised.args[0], "Kafka")
        with suppress(OSError):  # where standard error cannot be written, the exit code must still be right
            click.echo(f"order-facts: {failure}", err=True)
        # A service retries a RetryError. A single command reports that a service could not be reached.
        is_away = isinstance(failure, RetryError) and failure.lasting is None
        _end(_UNREACHABLE if is_away else failure.exit_code)
    _end(exit_code or 0)


def _end(exit_code: int) -> NoReturn:
    """End the process; at once if a service is away: a Kafka client waits most of a minute for a provider of tokens."""
    if exit_code == _UNREACHABLE:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(exit_code)
    sys.exit(exit_code)
