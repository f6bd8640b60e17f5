"""What is shown, from what is known, as of a moment: plain values, no layout.

`as_of_s` is the time of the clock for a live view, and that of the newest line for a summary. A process that writes a
line every ten seconds and has written none for 30 is silent: killed, frozen, or its lines no longer arrive.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from processor.watching.conditions import COPIER, LASTING, RUN, Open, standing
from processor.watching.counting import OUTCOMES, SLOT_S, STEPS, Sums
from processor.watching.log_lines import Line, Other, number_of
from processor.watching.watched import Process, WarnedOf, Watched

SILENT_AFTER_S: Final = 30.0
LATE_AFTER_S: Final = 60.0  # the alerts' goal, too
SILENT: Final = "silent"
STOPPED: Final = "stopped"
TOTAL: Final = "total"
_LATE: Final = "orderfactsfreshnesslost"  # the runbook's section of the alert
_LEAST_SPAN_S: Final = 1.0
_TEXTS: Final = ("message", "error", "cause", "problem", "detail")


class Replica(NamedTuple):
    """A process of `run`, or all of them. Rates are events per second; what no line said is None."""

    name: str
    state: str
    events: int
    rates: dict[str, float]
    freshness_s: float | None
    lag_records: float | None
    is_lag_least: bool  # of the total, whether the lag of some is not known
    partitions: list[int]
    steps_ms: dict[str, tuple[float | None, float | None]]  # p50, p99


class Command(NamedTuple):
    """A process of another command, and what its latest lines say."""

    name: str
    command: str
    state: str
    says: str


class Trouble(NamedTuple):
    """What is wrong or unfinished: since when, for whom, what, and whose section of the runbook helps."""

    since_s: float
    name: str
    text: str
    event: str


class Reason(NamedTuple):
    """Rejections of one reason: all that were seen, and lately each second."""

    name: str
    records: int
    rate: float


class Waited(NamedTuple):
    """Waits of one kind that are over; `is_least`: of some it is not known how long they took."""

    what: str
    times: int
    total_ms: float
    longest_ms: float
    is_least: bool


class Warned(NamedTuple):
    """Warnings or errors of one event: how many, of which instances, and what the latest says."""

    last_s: float
    names: list[str]
    level: str
    event: str
    times: int
    text: str


class Summary(NamedTuple):
    """Everything that is shown. `span_s` is what rates and steps are over."""

    begin_s: float
    end_s: float
    span_s: float
    lines: int
    not_json: int
    foreign: int
    troubles: list[Trouble]
    replicas: list[Replica]
    total: Replica
    reasons: list[Reason]
    commands: list[Command]
    waited: list[Waited]
    notes: list[str]
    warned: list[Warned]


def summary(watched: Watched, as_of_s: float | None = None) -> Summary:
    """Return what is known as of a moment; by default, of the newest line."""
    end_s = max(watched.last_s, 0.0) if as_of_s is None else as_of_s
    begin_s = min(watched.first_s, end_s)
    recent_s = begin_s if watched.window_s is None else (end_s - watched.window_s) // SLOT_S * SLOT_S
    span_s = max(end_s - max(begin_s, recent_s), _LEAST_SPAN_S)
    opened = {instance: conditions.open() for instance, conditions in watched.conditions.items()}
    replicas, sums, all_sums = [], Sums(), Sums(has_steps=False)
    all_sums.merge(watched.gone)
    for (instance, command), process in sorted(watched.processes.items()):
        if command == RUN:
            recent = process.window.recent(recent_s)
            sums.merge(recent)
            all_sums.merge(process.window.total())
            state = _state(command, process, opened[instance], end_s)
            replicas.append(_replica(printable(instance), process, state, recent, span_s))
    return Summary(
        begin_s=begin_s,
        end_s=end_s,
        span_s=span_s,
        lines=watched.lines,
        not_json=watched.others[Other.NOT_JSON],
        foreign=watched.others[Other.FOREIGN],
        troubles=sorted(_troubles(watched, opened, end_s)),
        replicas=replicas,
        total=_total(replicas, all_sums.events, sums, span_s),
        reasons=_reasons(all_sums, sums, span_s),
        commands=[
            Command(
                printable(instance), command, _state(command, process, opened[instance], end_s), _says(command, process)
            )
            for (instance, command), process in sorted(watched.processes.items())
            if command != RUN
        ],
        waited=_waited(watched),
        notes=list(_notes(watched)),
        warned=_warned(watched),
    )


def printable(text: str) -> str:
    """Return a text without what a terminal would obey: a line may be anybody's."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def text_of(line: Line) -> str:
    """Return what a line says to people, in one printable line."""
    text = next(filter(None, map(line.text, _TEXTS)), "")
    what = line.text("waiting_for")
    return printable(text if line.text("message") or not what else f"waits for {what}: {text}")


def is_silent(process: Process, end_s: float) -> bool:
    """Return whether a process that should write lines writes none; one that stopped, or stands by, should not."""
    is_quiet = process.stopped_s >= process.last_s or process.latest("heals") is False
    return process.has_stats and not is_quiet and end_s - process.last_s > SILENT_AFTER_S


def _troubles(watched: Watched, opened: dict[str, list[Open]], end_s: float) -> Iterator[Trouble]:
    for (instance, command), process in watched.processes.items():
        if is_silent(process, end_s):
            text = f"{command}: no line since; it was killed, or hangs, or its lines do not arrive"
            yield Trouble(process.last_s, printable(instance), text, SILENT)
        elif command == RUN and (age_s := _late_s(process, opened.get(instance))) is not None:
            text = f"run: an event has waited since then{_waiting(process)}; no line says why"
            yield Trouble(end_s - age_s, printable(instance), text, _LATE)
    for instance, conditions in opened.items():
        for one in conditions:
            of = watched.processes.get((instance, LASTING[one.event].command or ""))
            if of is None or not is_silent(of, end_s):
                yield Trouble(one.since_s, printable(instance), _trouble_text(one), one.event)


def _late_s(process: Process, conditions: list[Open] | None) -> float | None:
    """Return how old the oldest event that waits is, if that is too old and no condition that lasts explains it."""
    age_s = number_of(process.latest("freshness_s"))
    is_there = process.stopped_s < process.last_s
    return age_s if is_there and not conditions and age_s is not None and age_s > LATE_AFTER_S else None


def _waiting(process: Process) -> str:
    lag = number_of(process.latest("lag_records"))
    return "" if lag is None else f", {lag:,.0f} wait"


def _trouble_text(one: Open) -> str:
    text = text_of(one.latest)
    place = "" if one.partition is None or one.latest.text("message") else f"partition {one.partition}"
    return ": ".join(filter(None, (place, text))) or LASTING[one.event].state


def _state(command: str, process: Process, conditions: list[Open], end_s: float) -> str:
    if is_silent(process, end_s):
        return SILENT
    for one in conditions:
        if LASTING[one.event].command in {command, None}:
            what = one.latest.text("waiting_for")
            return printable(f"{LASTING[one.event].state}{f': {what}' if what else ''}")
    if process.stopped_s >= process.last_s:
        return STOPPED
    return "standby" if process.latest("heals") is False else "runs"


def _replica(name: str, process: Process, state: str, rates_of: Sums, span_s: float) -> Replica:
    is_there = state not in {SILENT, STOPPED}
    partitions = process.latest("partitions") if is_there else None
    return Replica(
        name=name,
        state=state,
        events=process.window.total().events,
        rates=_rates(rates_of, span_s),
        freshness_s=number_of(process.latest("freshness_s")) if is_there else None,
        lag_records=number_of(process.latest("lag_records")) if is_there else None,
        is_lag_least=False,
        partitions=[number for number in partitions if type(number) is int] if type(partitions) is list else [],
        steps_ms=_steps(rates_of),
    )


def _total(replicas: list[Replica], events: int, sums: Sums, span_s: float) -> Replica:
    """Return all replicas as one: the oldest event that waits anywhere, and the sum of what is behind."""
    ages = [replica.freshness_s for replica in replicas if replica.freshness_s is not None]
    lags = [replica.lag_records for replica in replicas if replica.lag_records is not None]
    return Replica(
        name=TOTAL,
        state="",
        events=events,
        rates=_rates(sums, span_s),
        freshness_s=max(ages, default=None),
        lag_records=sum(lags) if lags else None,
        is_lag_least=any(one.lag_records is None and one.state != STOPPED for one in replicas),
        partitions=sorted({number for replica in replicas for number in replica.partitions}),
        steps_ms=_steps(sums),
    )


def _rates(sums: Sums, span_s: float) -> dict[str, float]:
    return {outcome: sums.outcomes[outcome] / span_s for outcome in OUTCOMES}


def _steps(sums: Sums) -> dict[str, tuple[float | None, float | None]]:
    return {step: (sums.steps[step].quantile(0.5), sums.steps[step].quantile(0.99)) for step in STEPS}


def _reasons(total: Sums, recent: Sums, span_s: float) -> list[Reason]:
    found = sorted(total.reasons.items(), key=lambda one: (-one[1], one[0]))
    return [Reason(printable(name), records, recent.reasons[name] / span_s) for name, records in found]


def _says(command: str, process: Process) -> str:
    """Return what another command's latest lines say, in words."""
    entered, left = process.latest("entered"), process.latest("left")
    parts = [
        (process.latest("records"), "events copied" if command == COPIER else "contact records"),
        (process.latest("lag_records"), "behind"),
        (process.latest("freshness_s"), "s late"),
        (process.latest("skipped"), "skipped"),
        (process.latest("waiting"), "wait for a contact"),
        (process.latest("sent"), "sent back"),
        (process.latest("expired"), "expired"),
        (_sum_of(process.latest("members")), "members"),
        (_sum_of(entered), "entered"),
        (_sum_of(left), "left"),
    ]
    return ", ".join(f"{number:,.0f} {what}" for value, what in parts if (number := number_of(value)) is not None)


def _sum_of(counts: object) -> float | None:
    """Return the sum of numbers by name; None for anything else."""
    return sum(filter(None, map(number_of, counts.values()))) if isinstance(counts, dict) else None


def _waited(watched: Watched) -> list[Waited]:
    found = sorted(watched.waited.items(), key=lambda one: (-one[1].total_ms, one[0]))
    return [Waited(printable(what), one.count, one.total_ms, one.longest_ms, one.is_least) for what, one in found]


def _notes(watched: Watched) -> Iterator[str]:
    """Yield what else happened, as counts."""
    for event, what in (
        ("batch.committed", "batches"),
        ("batch.aborted", "aborted"),
        ("batch.dropped", "dropped by rebalances"),
        ("partition.assigned", "assignments"),
        ("mirror.caught_up", "catch-ups"),
        ("predecessor.fenced", "fenced"),
        ("producer.replaced", "producers replaced"),
        ("partition.stalled", "stalls"),
        ("service.started", "starts"),
    ):
        if count := watched.events[event]:
            read = f" ({watched.facts_caught_up:,.0f} facts)" if event == "mirror.caught_up" else ""
            yield f"{what}: {count:,}{read}"
    if watched.dropped_lines:
        yield f"lines that were lost before they were written: {watched.dropped_lines:,.0f}"
    if watched.forgotten:
        yield f"instances that were forgotten, of too many: {watched.forgotten:,}"


def _warned(watched: Watched) -> list[Warned]:
    """Return warnings and errors by event, the latest first."""
    by_event: dict[str, list[tuple[str, WarnedOf]]] = {}
    for (instance, event), one in sorted(watched.warned.items()):
        by_event.setdefault(event, []).append((instance, one))
    found = []
    for event, each in by_event.items():
        latest = max((one.latest for _, one in each), key=standing)
        names, count = [printable(instance) for instance, _ in each], sum(one.count for _, one in each)
        found.append(Warned(latest.at_s, names, latest.level, printable(event), count, text_of(latest)))
    return sorted(found, key=lambda one: (-one.last_s, one.event))
