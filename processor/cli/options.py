"""Options that commands share: every setting, and --config."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from processor import logs
from processor.settings import Settings, description, load

TOPICS: Final = ("events_topic", "contacts_topic", "facts_topic", "rejected_topic", "healed_topic")
CONNECTION: Final = ("bootstrap_servers", "kafka", "startup_timeout_s", "log_level", "log_format")
REDIS: Final = ("redis_url", "identifier_key")


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
            logs.configure(settings.log_format, settings.log_level, settings.instance_id)
            command(settings, **given)

        for field in reversed(msgspec.structs.fields(Settings)):
            option, is_hidden = f"--{field.name.replace('_', '-')}", bool(shown) and field.name not in shown
            click.option(option, field.name, metavar="TEXT", help=_help(field), hidden=is_hidden)(decorated)
        path = click.Path(exists=True, dir_okay=False, path_type=Path)
        return click.option("--config", type=path, help="TOML file of settings.")(decorated)

    return decorate


def _help(field: msgspec.structs.FieldInfo) -> str:
    default = field.default
    shown = "" if default in (msgspec.NODEFAULT, None, "") or isinstance(default, tuple | dict) else f"  [{default}]"
    return f"{description(field.name)}{shown}"


def progress(unit: str) -> Progress:
    """Return a progress bar on standard error: shown on a terminal, hidden if that is piped."""
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), unit, TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def print_line(line: bytes) -> None:
    """Write one line of data to standard output and flush it: somebody may be watching."""
    try:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError as gone:
        # The reader, such as `head`, has enough. Discard what is left in the buffer.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(0) from gone
