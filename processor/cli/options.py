"""Options that commands share: every setting, and --config."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from processor import logs
from processor.settings import Settings, description, load

P = ParamSpec("P")
R = TypeVar("R")
CONNECTION: Final = ("bootstrap_servers", "kafka", "startup_timeout_s", "log_level", "log_format")
REDIS: Final = ("redis_url", "identifier_key")


def with_settings(*shown: str) -> Callable[[Callable[Concatenate[Settings, P], R]], Callable[P, R]]:
    """Give a command one option for each setting, and pass the settings to its function as first argument.

    Every command accepts every setting. `--help` lists those in `shown` (all of them if `shown` is empty): the
    others do not affect the command.
    """

    def decorate(command: Callable[Concatenate[Settings, P], R]) -> Callable[P, R]:
        @functools.wraps(command)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            config: Any = kwargs.pop("config")
            given = {name: value for name in Settings.__struct_fields__ if (value := kwargs.pop(name)) is not None}
            settings = load(given, config)
            logs.configure(settings.log_format, settings.log_level, settings.instance_id)
            return command(settings, *args, **kwargs)

        decorated: Any = called
        for field in reversed(msgspec.structs.fields(Settings)):
            decorated = click.option(
                f"--{field.name.replace('_', '-')}",
                field.name,
                metavar="TEXT",
                help=_help(field),
                hidden=bool(shown) and field.name not in shown,
            )(decorated)
        return click.option(  # type: ignore[no-any-return]
            "--config",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="TOML file of settings.",
        )(decorated)

    return decorate


def _help(field: msgspec.structs.FieldInfo) -> str:
    default = field.default
    shown = "" if default in (msgspec.NODEFAULT, None, "") or isinstance(default, tuple | dict) else f"  [{default}]"
    return f"{description(field.name)}{shown}"


def progress(unit: str) -> Progress:
    """Return a progress bar on standard error: shown on a terminal, hidden if that is piped."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def print_line(line: bytes) -> None:
    """Write one line of data to standard output and flush it: somebody may be watching."""
    try:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError as gone:
        # The reader, such as `head`, has enough. Discard what is left in the buffer.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(0) from gone
