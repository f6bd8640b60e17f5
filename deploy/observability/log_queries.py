"""A question to the logs, once, and as the languages of log stores ask it: LogQL, LogsQL, CloudWatch Logs Insights.

All take lines as the program writes them (log_profile=default): JSON, one object a line.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final, NamedTuple

from processor.logs import SERVICE
from processor.logs.published import LOUD, REPEATED

STREAM: Final = "{${stream:raw}}"  # Loki's labels are what a collector makes them: the dashboard's variable says which
_STEP: Final = "1m"
_STANDS_FOR: Final = f'label_format times="{{{{ add 1 (default `0` .{REPEATED}) }}}}"'


TIMES: Final = f"math ({REPEATED} default 0) + 1 as times"
"""In LogsQL, how often what a line says happened: the line itself, and those alike that were left out before it."""


class How(Enum):
    """How the lines of an interval become one number: Loki's function, VictoriaLogs' and CloudWatch's.

    TIMES counts what lines say happened: a line that repeats may have been left out, and the next one then has
    `repeated`, how many. LINES_RATE is of events whose lines are never left out.
    """

    RATE = ("rate", "rate_sum", "sum")
    MOST = ("max_over_time", "max", "max")
    P50 = ("quantile_over_time(0.5, ", "quantile(0.5, ", "pct")
    P99 = ("quantile_over_time(0.99, ", "quantile(0.99, ", "pct")
    TIMES = ("sum_over_time", "sum", "sum")
    LINES_RATE = ("rate", "rate", "count")


class Logged(NamedTuple):
    """Of the lines of these events: these fields, for each value of `by`. Without events: warnings and errors."""

    how: How
    events: Sequence[str] = ()
    fields: Sequence[str] = ()
    by: str = ""


def logql(asked: Logged) -> Iterator[tuple[str, str]]:
    """Yield each query for Loki, and the legend of what it gives."""
    if not asked.events:
        levels = "|".join(LOUD)
        yield f'{STREAM} | json level="level", event="event", message="message" | level=~`{levels}`', ""
        return
    # a label of its own, since a collector's may be called `instance`, too; and none that is a word of LogQL
    named = f'event="event", grouped="{asked.by}"' if asked.by not in ("", "event") else 'event="event"'
    by = {"": "", "event": "event"}.get(asked.by, "grouped")
    legend = f"{{{{{by}}}}}" if by else ""
    wanted = f"event=~`{'|'.join(asked.events)}`".replace(".", r"\.")
    if asked.how is How.LINES_RATE:
        yield f"sum by ({by}) (rate({STREAM} | json {named} | {wanted} [$__auto]))", legend
    if asked.how is How.TIMES:
        lines = f'{STREAM} | json {named}, {REPEATED}="{REPEATED}" | {wanted} | {_STANDS_FOR} | unwrap times [$__auto]'
        yield f"sum by ({by}) (sum_over_time({lines}))", legend
    for field in asked.fields:
        lines = (
            f'{STREAM} | json {named}, value="{field}" | {wanted} | value!=`` | unwrap value | __error__=`` [$__auto]'
        )
        yield _logql(asked.how, lines, by), legend or field.removeprefix("reasons.").removesuffix("_ms")


def _logql(how: How, lines: str, by: str) -> str:
    match how:
        case How.RATE:
            return f"sum by ({by}) (rate({lines}))"
        case How.MOST:
            return f"max by ({by}) (max_over_time({lines}))"
        case _:
            return f"{how.value[0]}{lines}) by ({by})"


def logsql(asked: Logged, step: str = _STEP) -> str:
    """Return the query for VictoriaLogs: a row for each interval, or the lines."""
    service = f'service:="{SERVICE}"'
    if not asked.events:
        # VictoriaLogs' page shows of a line its `_msg`, which is our `message`: so who and what stand there, too
        said = 'format "<instance> <event>: <_msg>" as _msg'
        shown = "_time, instance, level, event, error, _msg"
        return f"{service} level:in({', '.join(LOUD)}) | {said} | fields {shown} | sort by (_time)"
    by = ", ".join(filter(None, (f"_time:{step}", asked.by)))
    chosen = f"{service} event:in({_quoted(asked.events)})"
    match asked.how:
        case How.TIMES:
            chosen, numbers = f"{chosen} | {TIMES}", "sum(times) as times"
        case How.LINES_RATE:
            numbers = "rate() as lines"
        case how:
            numbers = ", ".join(f"{_logsql(how, field)} as {_short(field)}" for field in asked.fields)
    return f"{chosen} | stats by ({by}) {numbers} | sort by (_time)"


def _logsql(how: How, field: str) -> str:
    name = how.value[1]
    return f"{name}{field})" if "(" in name else f"{name}({field})"


def insights(asked: Logged) -> str:
    """Return the query for CloudWatch Logs Insights."""
    if not asked.events:
        shown = "@timestamp, instance, level, event, error, message"
        return f"filter level in [{_quoted(LOUD, chr(39))}] | fields {shown}"
    by = ", ".join(filter(None, ("bin(1m)", asked.by)))
    chosen = f"filter event in [{_quoted(asked.events, chr(39))}]"
    match asked.how:
        case How.TIMES:
            chosen, numbers = f"{chosen} | fields 1 + coalesce({REPEATED}, 0) as times", "sum(times) as happened"
        case How.LINES_RATE:
            numbers = "count(*) / 60 as lines_per_s"
        case how:
            numbers = ", ".join(_insights(how, field) for field in asked.fields)
    return f"{chosen} | stats {numbers} by {by}"


def _insights(how: How, field: str) -> str:
    name = _short(field)
    match how:
        case How.RATE:
            return f"sum({field}) / 60 as {name}_per_s"
        case How.MOST:
            return f"max({field}) as {name}_most"
        case _:
            return f"pct({field}, {50 if how is How.P50 else 99}) as {name}_{how.name.lower()}"


def _short(field: str) -> str:
    return field.removeprefix("reasons.")


def _quoted(names: Sequence[str], quote: str = '"') -> str:
    return ", ".join(f"{quote}{name}{quote}" for name in names)
