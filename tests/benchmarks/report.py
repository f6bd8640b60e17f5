"""Results as Markdown tables and a plot, beside the JSON they come from."""

import json

from deploy.demo.steps import STEPS
from tests.benchmarks.plot import bars
from tests.benchmarks.programs import PROGRAMS


def save(results, path):
    """Write the results as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def write(results, path):
    """Write JSON, Markdown and, of a throughput, a plot, side by side; print the Markdown, give the files."""
    save(results, path)
    texts = {".md": markdown(results)}
    print(texts[".md"])
    if "throughput" in results:
        texts[".svg"] = plot(results["throughput"])
    for suffix, text in texts.items():
        path.with_suffix(suffix).write_text(text, encoding="utf-8")
    return [path, *map(path.with_suffix, texts)]


def markdown(results):
    """Give all tables."""
    machine = results["machine"]
    size = f"{machine['count']} cores, {machine['memory_gib']} GiB"
    where = f"{size}, Python {machine['python']}, Kafka {machine['kafka']}"
    lines = [f"{where}; {machine['cores']}.", ""]
    for part, table in TABLES.items():
        if part in results:
            lines += [*table(results[part]), ""]
    return "\n".join(lines)


def plot(found):
    """Give the throughput of each program as a drawing."""
    rows = [(PROGRAMS[name].title, figures["events_per_s"]) for name, figures in found["programs"].items()]
    title = f"Events a second, one core, {found['events']:,} events; line: least to greatest"
    return bars(title, [(name, figures) for name, figures in rows if figures is not None])


def shown(figures):
    """Write a number, or a spread: the median, and in brackets the least and the greatest."""
    if figures is None:
        return "?"
    if not isinstance(figures, dict):
        return f"{figures:{_form(figures)}}"
    median, least, most = (f"{figures[name]:{_form(figures['median'])}}" for name in ("median", "min", "max"))
    return median if least == most else f"{median} ({least} to {most})"


def _form(value):
    return ",.0f" if abs(value) >= 100 else ",.2f" if abs(value) < 10 else ",.1f"


def _table(title, first, columns, rows):
    """Give a table: `columns` are (heading, figure's name), `rows` (name, figures)."""
    lines = [f"### {title}", "", f"| {first} | {' | '.join(heading for heading, _ in columns)} |"]
    lines.append(f"|---|{'--:|' * len(columns)}")
    for name, figures in rows:
        lines.append(f"| {name} | {' | '.join(shown(figures.get(column)) for _, column in columns)} |")
    return lines


WORK = (
    ("events/s", "events_per_s"),
    ("CPU us an event", "cpu_us"),
    ("the same, running", "cpu_us_running"),
    ("Kafka us", "kafka_cpu_us"),
    ("Redis us", "redis_cpu_us"),
    ("peak MiB", "peak_rss_mib"),
)


def _throughput(found):
    warm = (("events/s, warm", "events_per_s_warm"), ("CPU us, warm", "cpu_us_warm"))
    title = f"Throughput: {found['events']:,} events, {found['facts']:,} facts, {found['rejected']:,} rejected"
    rows = [(PROGRAMS[name].title, figures) for name, figures in found["programs"].items()]
    lines = _table(title, "program", (*WORK[:3], *warm, *WORK[3:]), rows)
    bare, own = (found["programs"].get(name, {}).get("cpu_us") for name in ("bare", "order-facts"))
    if bare and own:
        lines += ["", f"CPU of order-facts by CPU of the bare loop: {own['median'] / bare['median']:.2f}"]
    steps = found["programs"].get("order-facts", {}).get("steps")
    if steps:
        shares = [f"{steps[name]['median']:.1%}" for _, name in STEPS]
        lines += ["", f"| {' | '.join(step for step, _ in STEPS)} |", f"|{'--:|' * len(STEPS)}"]
        lines.append(f"| {' | '.join(shares)} |")
    return lines


def _latency(found):
    columns = (("p50 ms", "p50_ms"), ("p99 ms", "p99_ms"), ("p99.9 ms", "p999_ms"), ("most", "max_ms"))
    rows = [(PROGRAMS[name].title, figures) for name, figures in found["programs"].items()]
    title = f"Latency at {found['rate']:,} events a second, {found['seconds']} s"
    return _table(
        title, "program", (*columns, ("sender late by", "sender_late_ms"), ("CPU us an event", "cpu_us")), rows
    )


def _orders(found):
    columns = (*WORK, ("bytes an order", "bytes_an_order"))
    return _table(f"With orders in the state: {found['events']:,} events", "orders", columns, _by_size(found["sizes"]))


def _identifiers(found):
    more = (
        ("bytes an identifier", "bytes_an_identifier"),
        ("indexed identifiers/s", "identifiers_per_s"),
        ("indexed contacts/s", "contacts_per_s"),
    )
    title = f"With identifiers in the contact index: {found['events']:,} events"
    return _table(title, "identifiers", (*WORK, *more), _by_size(found["sizes"]))


def _contacts(found):
    columns = (
        ("contacts/s", "contacts_per_s"),
        ("CPU us a contact", "cpu_us"),
        ("Redis us", "redis_cpu_us"),
        ("the index's rate by it", "ratio"),
    )
    lines = _table(f"The contact index: {found['contacts']:,} contacts", "", columns, found["work"].items())
    outage, lost = found["outage"], found["lost"]
    said = (
        f"Writer killed, {outage['changed']:,} contacts changed: complete {outage['seconds']:.1f} s after its start, "
        f"ready all the time. Redis emptied: ready after {lost['seconds']:.1f} s."
    )
    shared = (
        ("slowest batch, ms", "batch_max_ms"),
        ("all batches, s", "seconds_writing"),
        ("slowest deletion, ms", "deleted_max_ms"),
        ("look-up p99, ms", "look_p99_ms"),
        ("slowest look-up, ms", "look_max_ms"),
    )
    return [*lines, "", said, "", *_table("100,000 contacts", "", shared, found["shared"].items())]


def _rebuild(found):
    columns = (
        ("seconds", "seconds"),
        ("orders/s", "orders_per_s"),
        ("facts/s", "facts_per_s"),
        ("CPU us a fact", "cpu_us_a_fact"),
        ("bytes an order", "bytes_an_order"),
    )
    title = f"Mirror rebuilt in an empty Redis: {found['orders']:,} orders from {shown(found['facts'])} facts"
    return _table(title, "", columns, [("rebuild", found)])


def _replicas(found):
    columns = (*WORK[:3], ("the same, all at work", "cpu_us_together"), *WORK[3:])
    rows = [
        (f"{PROGRAMS[name].title}, {share}", figures)
        for name, shares in found["programs"].items()
        for share, figures in shares.items()
    ]
    return _table(f"Replicas: {found['events']:,} events", "program, replicas on cores", columns, rows)


def _backlog(found):
    lines = _table("Memory under a backlog", "events waiting", WORK, _by_size(found["sizes"]))
    return [*lines, "", f"Peak memory of the longer one by that of the shorter one: {found['ratio']:.2f}"]


def _formats(found):
    lines = _table(f"Wire formats: {found['events']:,} events", "format", WORK, found["formats"].items())
    lines += ["", f"Rate with confluent by rate with single-object, run by run: {shown(found['ratio'])}", ""]
    ours = found["decoded"]["single-object"]
    rows = [(name, {"rate": rate, "ratio": rate / ours}) for name, rate in found["decoded"].items()]
    columns = (("events/s", "rate"), ("by single-object", "ratio"))
    return lines + _table("Decoding alone", "events of", columns, rows)


def _segments(found):
    columns = (("seconds", "seconds"), ("facts/s", "facts_per_s"), ("peak MiB", "peak_rss_mib"))
    lines = _table(f"Snapshots: {found['orders']:,} facts", "", columns, found["work"].items())
    lines += ["", f"Rate of the export by that of the bare reader, run by run: {shown(found['ratio'])}"]
    further = found["further"]
    lines += [f"{found['new_facts']:,} new facts: {further['seconds']:.1f} s, {further['peak_rss_mib']:.0f} MiB", ""]
    asked = (("ms", "condition"), ("by hand ms", "by_hand"), ("ratio", "ratio"))
    rows = [(f"`{name}` ({figures['contacts']:,} contacts)", figures) for name, figures in found["asked"].items()]
    peaks = found["asked_peak_rss_mib"]
    told = f"Peak of a process that asks each once: {peaks['condition']:.0f} MiB, by hand {peaks['by_hand']:.0f} MiB"
    return [*lines, *_table("Conditions", "condition", asked, rows), "", told]


def _redis(found):
    rows = [
        (f"{PROGRAMS[name].title}, {kind}", figures)
        for name, program in found["programs"].items()
        for kind, figures in program["kinds"].items()
    ]
    lines = _table(f"Kinds of Redis: {found['events']:,} events", "program, Redis", WORK, rows)
    columns = (("CPU", "cpu_us"), ("CPU, running", "cpu_us_running"), ("rate", "events_per_s"))
    ratios = [
        (f"{PROGRAMS[name].title}, {how}", program[kept])
        for name, program in found["programs"].items()
        for how, kept in (("run by run", "ratios"), ("of the medians", "ratios_of_medians"))
    ]
    return [*lines, "", *_table("In the cluster by on one server", "program", columns, ratios)]


def _by_size(sizes):
    return [(f"{int(size):,}", figures) for size, figures in sizes.items()]


TABLES = {
    "throughput": _throughput,
    "latency": _latency,
    "orders": _orders,
    "identifiers": _identifiers,
    "contacts": _contacts,
    "rebuild": _rebuild,
    "replicas": _replicas,
    "backlog": _backlog,
    "formats": _formats,
    "segments": _segments,
    "redis": _redis,
}
