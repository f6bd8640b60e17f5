"""Reads settings from the command line, the environment and files, and reports each mistake."""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from processor.errors import UsageError
from processor.settings.checks import check
from processor.settings.definitions import HINTS, SECRETS, Settings, description

ENVIRONMENT_PREFIX: Final = "ORDER_FACTS_"
_TEST_PREFIX: Final = "ORDER_FACTS_TEST_"  # for the tests' services, not for the program
_FILE_SUFFIX: Final = "_FILE"
# What Kubernetes and Docker inject for a Service or a link whose name begins as this program's.
_INJECTED: Final = re.compile(
    r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?|ENV_\w+)=.*"
    r"|(\w+_)?PORT=(tcp|udp|sctp)://\S*"
    r"|(\w+_)?NAME=(/[\w.-]+){2,}",  # /container/alias
    re.DOTALL,
)
_URL: Final = "redis_url"
_URL_FILE: Final = "redis_url_file"
_JSON_SETTINGS: Final = frozenset({"identification", "kafka", "schema_registry", "statuses"})


def load(
    command_line: Mapping[str, Any], config: Path | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings from all their sources. Raises UsageError, naming the setting and its source.

    `command_line` holds the options given, by setting name; `environment` defaults to the process's own.
    """
    values = {} if config is None else _joined({}, _from_file(config))
    values = _joined(values, _from_environment(os.environ if environment is None else environment))
    options = ((name, f"option --{name.replace('_', '-')}", value) for name, value in command_line.items())
    values = _joined(values, {name: _convert(name, value, origin) for name, origin, value in options})
    if (path := values.get(_URL_FILE)) is not None:
        values[_URL] = _read_secret(f"setting {_URL_FILE}", path)
    settings = Settings(**values)
    check(settings)
    return settings


def _joined(values: dict[str, Any], stronger: dict[str, Any]) -> dict[str, Any]:
    """Return the values of weaker sources under those of a stronger one; an address or its file replaces the other."""
    if {_URL, _URL_FILE} <= stronger.keys():
        raise UsageError(f"settings {_URL} and {_URL_FILE} contradict: set one of them")
    if {_URL, _URL_FILE} & stronger.keys():
        values = {name: value for name, value in values.items() if name not in {_URL, _URL_FILE}}
    return values | stronger


def _from_file(config: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"--config {config}: {error}") from error
    for name in table:
        if name not in HINTS:
            raise UsageError(f"{config}: unknown setting {name}{_nearest(name)}")
    return {name: _convert(name, value, str(config), text=False) for name, value in table.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable in sorted(environment):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable.startswith(_TEST_PREFIX):
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        text = environment[variable]
        if _is_injected(name, text):
            continue
        if name not in HINTS and variable.endswith(_FILE_SUFFIX):
            name = name.removesuffix(_FILE_SUFFIX.lower())
            if ENVIRONMENT_PREFIX + name.upper() in environment:
                raise UsageError(f"{variable} and {ENVIRONMENT_PREFIX}{name.upper()} contradict: set one of them")
            text = _read_secret(variable, text)
        if name not in HINTS:
            raise UsageError(f"unknown setting {variable}{_nearest(name)}")
        values[name] = _convert(name, text, variable)
    return values


def _is_injected(name: str, text: str) -> bool:
    """Return whether a container platform injected a variable, by its form: then it is no setting."""
    return _INJECTED.fullmatch(f"{name.upper()}={text}") is not None


def _read_secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{variable}: {error}") from error


def _convert(name: str, value: Any, origin: str, *, text: bool = True) -> Any:
    """Return the setting's typed value; `text`: the source holds only strings."""
    try:
        if text and name in _JSON_SETTINGS:
            text_of_json, value = value, msgspec.json.decode(value)
            json.loads(text_of_json, object_pairs_hook=_require_names_once)
        return msgspec.convert(value, HINTS[name], strict=not text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        shown = "" if name in SECRETS else f" (it is {value!r})"
        raise UsageError(f"setting {name}, from {origin}: {error}{shown}; {description(name)}") from error


def _require_names_once(pairs: list[tuple[str, Any]]) -> None:
    """Refuse a JSON object in which a name stands twice, as TOML does: it would have two meanings."""
    names = [name for name, _ in pairs]
    if len({*names}) < len(names):
        raise ValueError(f"{max(names, key=names.count)!r} is there twice; remove one")


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, HINTS, n=1, cutoff=0.4)
    return f"; did you mean {close[0]}?" if close else ""
