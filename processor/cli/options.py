"""Options that commands share: every setting, and --config."""

import functools
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import click
import msgspec

from processor import logs
from processor.errors import StopError, UsageError
from processor.settings import Settings, description, load

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

TOPICS: Final = ("events_topic", "contacts_topic", "facts_topic", "rejected_topic", "healed_topic")
LOGS: Final = ("log_level", "log_format", "log_profile")
CONNECTION: Final = ("bootstrap_servers", "kafka", "kafka_token", "startup_timeout_s", *LOGS)
WIRE: Final = ("wire_format", "schema_registry_url", "schema_registry")
REDIS: Final = ("redis_url", "identifier_key")
IDENTIFYING: Final = ("identification", "phone_matching", "phone_region")
SERVED: Final = ("instance_id", "http_port", "http_host", "log_stream")  # by what runs until a signal
_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 24 * 3_600_000}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,8})([smhd])")


def with_settings(*shown: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for each setting, and pass the settings to its function as first argument.

    Every command accepts every setting. `--help` lists those in `shown` (all of them if `shown` is empty): the
    others do not affect the command.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def decorated(config: Path | None, **given: Any) -> None:
            options = {name: given.pop(name) for name in Settings.__struct_fields__}
            settings = load({name: value for name, value in options.items() if value is not None}, config)
            log_to(settings, sys.stderr)
            command(settings, **given)

        for field in reversed(msgspec.structs.fields(Settings)):
            option, is_hidden = f"--{field.name.replace('_', '-')}", bool(shown) and field.name not in shown
            click.option(option, field.name, metavar="TEXT", help=_help(field), hidden=is_hidden)(decorated)
        path = click.Path(exists=True, dir_okay=False, path_type=Path)
        return click.option("--config", type=path, help="TOML file of settings.")(decorated)

    return decorate


def log_to(settings: Settings, stream: TextIO) -> None:
    """Send log lines to a stream, as the settings say."""
    logs.configure(settings.log_format, settings.log_level, settings.instance_id, stream, settings.log_profile)


def _help(field: msgspec.structs.FieldInfo) -> str:
    default = field.default
    shown = "" if default in (msgspec.NODEFAULT, None, "") or isinstance(default, tuple | dict) else f"  [{default}]"
    return f"{description(field.name)}{shown}"


def duration_ms(option: str, example: str) -> Callable[[str], int]:
    """Return what reads an option's duration, such as 90m, in ms. It raises UsageError for another text."""

    def read(text: str) -> int:
        found = _DURATION.fullmatch(text)
        if found is None:
            raise UsageError(f"{option} {text}: put a number and a unit there (s, m, h or d), such as {example}")
        return int(found[1]) * _UNITS_MS[found[2]]

    return read


def progress(unit: str) -> "Progress":
    """Return a progress bar on standard error: shown on a terminal, hidden if that is piped."""
    from rich.console import Console  # noqa: PLC0415 - slow, and services, which share this module, have no use for it
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), unit, TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def teller(bar: "Progress") -> Callable[[str, int, int], None]:
    """Return what shows in a progress bar how far reading and writing are."""
    tasks: dict[str, TaskID] = {}

    def tell(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done, total=total)

    return tell


def print_line(line: bytes) -> None:
    """Write one line of data to standard output and flush it: somebody may be watching."""
    try:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discard what is left in the buffer
        if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has enough
            raise click.exceptions.Exit(0) from error
        raise StopError(f"standard output cannot be written: {error.strerror}") from error
