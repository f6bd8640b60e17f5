"""Proves dashboards, rules and queries on real programs: `make observability-test`.

1. `promtool` finds that each rule fires and stays silent where it should, and that a rule changed to fire always, or
   never, fails.
2. The chaos suite runs for a while, with a Prometheus that scrapes every process: each PromQL expression of the
   dashboard gives samples, and each metric that a rule names was scraped.
3. The log lines of that run go to a VictoriaLogs: each LogsQL query gives rows. Each rule of the logs finds what it
   should in lines made for it, and nothing in others; vmalert takes them all, and one fires.
4. lnav opens the same log with the format file, and counts by SQL.
5. With --loki, a Loki takes the lines, too: each LogQL query gives values.

Prints what it saw as JSON. Exit codes: 0 all of it holds; 1 something does not, and is named; 2 a program is missing.
"""

import argparse
import json
import re
import secrets
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import yaml

from deploy.build.observability import FOLDER
from deploy.local.services import EmbeddedKafka, ServicesError
from deploy.observability.alerts import ALERTS
from deploy.observability.grafana_dashboards import metrics_dashboard
from deploy.observability.log_queries import How, Logged, logsql
from deploy.observability.panels import PANELS
from tests.chaos import faults
from tests.chaos.run import WRONG, chaos
from tests.observability.log_cases import CASES, written
from tests.observability.loki_seen import loki_seen
from tests.observability.seen_world import SeenWorld
from tests.observability.servers import PROGRAMS, Prometheus, VictoriaLogs, Vmalert, now_s, require_programs
from tests.support.deployment import await_condition

RULES = FOLDER / "prometheus/alerts.yaml"
LOG_RULES = FOLDER / "victorialogs/alerts.yaml"
ALWAYS, NEVER = "vector(1)", "vector(1) > 2"
ELSEWHERE = {"redis_memory_used_bytes", "redis_memory_max_bytes"}  # of redis_exporter, which does not run here
ON_DAMAGE = {"order_facts_unreadable_offset"}  # has samples only while something is unreadable
FAULTS = tuple(fault for fault in faults.LONG if fault is not faults.freeze_healer)  # two healers, and one port a name
RARE = {"Partitions that give nothing"}
MADE_UP = 1_000  # the tenant of VictoriaLogs that has the lines made for the rules
_METRIC = re.compile(r"\b(?:order_facts|redis)_\w+")


def rule_tests(folder):
    """Give to promtool the tests as they are; then each rule spoiled in two ways, which its tests must notice."""
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    tests = yaml.safe_load((FOLDER / "prometheus/alerts-test.yaml").read_text())
    failed = [rule["alert"] for rule in rules if not _passes(folder, rule, tests)]
    assert not failed, f"promtool test rules: {failed}"
    unnoticed = [
        f"{rule['alert']} as {spoiled}"
        for rule in rules
        for spoiled in (ALWAYS, NEVER)
        if _passes(folder, rule | {"expr": spoiled, "for": "0s"}, tests)
    ]
    assert not unnoticed, f"promtool's tests do not notice: {unnoticed}"
    return {"rules": len(rules), "spoiled and noticed": 2 * len(rules)}


def _passes(folder, rule, tests):
    """Whether a rule passes its own tests."""
    own = [test for test in tests["tests"] if test["alert_rule_test"][0]["alertname"] == rule["alert"]]
    (folder / "alerts-test.yaml").write_text(yaml.safe_dump(tests | {"tests": own}))
    (folder / "alerts.yaml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [rule]}]}))
    return _run("promtool", "test", "rules", str(folder / "alerts-test.yaml")).returncode == 0


def _run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def metrics_seen(prometheus, begin, end):
    """Ask every expression of the dashboard, and look for the metrics that the rules name."""
    empty = []
    for panel in metrics_dashboard()["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "15s").replace('"$job"', '".*"')
            if not prometheus.samples(expression.replace('"$instance"', '".*"'), begin, end):
                empty.append(f"{panel['title']}: {target['expr']}")
    assert not empty, "no samples:\n" + "\n".join(empty)
    named = {name for alert in ALERTS for name in _METRIC.findall(alert.metrics or "")}
    missing = named - prometheus.names() - ELSEWHERE - ON_DAMAGE
    assert not missing, f"rules name metrics that nothing gave: {sorted(missing)}"
    expressions = sum(len(panel.metrics) for panel in PANELS)
    return {"expressions with samples": expressions, "fired, after seconds": prometheus.fired(begin, end)}


def logs_seen(logs, lines):
    """Give the run's lines to VictoriaLogs; ask every query: what no fault here causes, of lines made for the rules."""
    logs.add(lines)
    logs.add([line for cases in CASES.values() for line in written(cases[0].lines, now_s())], tenant=MADE_UP)
    asked = {panel.title: panel.logged for panel in PANELS if panel.logged is not None}
    found = {title: _values(logs, one, MADE_UP if title in RARE else 0) for title, one in asked.items()}
    empty = [title for title, values in found.items() if not values]
    assert not empty, f"no values: {empty}"
    for one in asked.values():
        if one.how is How.TIMES and one.events:
            _times_are_counted(logs, one, lines)
    mute = [row for row in logs.rows(logsql(Logged(How.TIMES))) if not _says(row)]
    assert not mute, f"VictoriaLogs' page would show of them nothing: {mute[:5]}"
    return {"lines": len(lines), "values by query": found, "asked of lines made for the rules": sorted(RARE)}


def _times_are_counted(logs, asked, lines):
    """Require that what happened is counted whole: each line, and those alike that were left out before it."""
    happened = sum(1 + line.get("repeated", 0) for line in lines if line["event"] in asked.events)
    counted = sum(float(row["times"]) for row in logs.rows(logsql(asked, "10s")))
    assert counted == happened, f"{asked.events}: {counted} of {happened}"


def _says(row):
    """Whether a row's text names who wrote the line and its event, and has the line's message."""
    return row.get("_msg", "").removeprefix(f"{row['instance']} {row['event']}: ") not in ("", row.get("_msg"))


def _values(logs, asked, tenant):
    """Give how many values a query has: of each row all but its time and its group, if they are something."""
    group = {"_time", asked.by}
    rows = logs.rows(logsql(asked, "10s"), tenant)
    return sum(value not in ("", "NaN", "null") for row in rows for name, value in row.items() if name not in group)


def log_rules_judge(logs, moment):
    """Let each rule of the logs judge its cases, each in a tenant of its own."""
    rules = yaml.safe_load(LOG_RULES.read_text())["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules] == [alert.name for alert in ALERTS if alert.logs]
    wrong, cases = [], 0
    for rule in rules:
        for case in CASES[rule["alert"]]:
            cases += 1
            logs.add(list(written(case.lines, moment)), tenant=cases)
            if bool(logs.judged(rule["expr"], moment, tenant=cases)) != case.fires:
                wrong.append(f"{rule['alert']}: {'silent' if case.fires else 'fires'} at {case.lines[0]}")
    assert not wrong, "\n".join(wrong)
    return {"rules": len(rules), "cases": cases}


def vmalert_takes(folder, logs):
    """Let vmalert evaluate all rules; a line that comes now makes one fire."""
    vmalert = Vmalert(folder, LOG_RULES, logs)
    try:
        logs.add(list(written([("service.failed", 0, {"error": "stopped", "exit_code": 1})], now_s())))
        rules = await_condition(
            lambda: _all_evaluated(vmalert.rules()), lambda: f"evaluated: {vmalert.rules()}", patience_s=150
        )
        broken = {name: rule["lastError"] for name, rule in rules.items() if rule["health"] != "ok"}
        assert not broken, broken
        return {
            "rules": len(rules),
            "firing": sorted(name for name, rule in rules.items() if rule["state"] == "firing"),
        }
    finally:
        vmalert.end()


def _all_evaluated(rules):
    done = all(not rule["lastEvaluation"].startswith("0001") for rule in rules.values())
    return rules if done and rules["OrderFactsFailed"]["state"] == "firing" else None


def lnav_reads(folder, log):
    """Let lnav open the log with the format, and count lines by SQL; give what it counted."""
    formats = folder / "lnav/formats/order_facts"
    formats.mkdir(parents=True)
    (formats / "order_facts.json").write_text((FOLDER / "lnav/order_facts.json").read_text())
    asked = ";SELECT event, sum(1 + ifnull(repeated, 0)) AS times, sum(facts) AS facts FROM order_facts GROUP BY event"
    done = _run("lnav", "-n", "-I", str(folder / "lnav"), "-c", asked, "-c", ":write-json-to -", str(log))
    assert done.returncode == 0, done.stderr
    counted = {row["event"]: row for row in json.loads(done.stdout[done.stdout.index("[") :])}
    assert counted["batch.committed"]["facts"], counted["batch.committed"]
    return {"events": len(counted), "facts in batch.committed": counted["batch.committed"]["facts"]}


def prove(folder, seconds, seed, *, with_loki):
    """Do all of it; give what was seen."""
    seen = {"seed": seed, "promtool": rule_tests(folder)}
    prometheus = Prometheus(folder / "prometheus", RULES)
    try:
        begin = now_s()
        (folder / "chaos").mkdir()
        world = partial(SeenWorld, prometheus)
        summary = chaos(seconds, seed, folder / "chaos", 15_000, FAULTS, kafka=EmbeddedKafka, world=world)
        seen["chaos"] = {name: summary[name] for name in ("events", "facts", "rejected", "faults", *WRONG)}
        seen["prometheus"] = metrics_seen(prometheus, begin, now_s())
    finally:
        prometheus.end()
    log = folder / "chaos.log"
    texts = [text for file in sorted((folder / "chaos").glob("*.log")) for text in file.read_text().splitlines()]
    texts = sorted((text for text in texts if text.startswith("{")), key=lambda text: json.loads(text)["timestamp"])
    log.write_text("\n".join(texts) + "\n")
    logs = VictoriaLogs(folder / "victoria-logs")
    try:
        seen["victorialogs"] = logs_seen(logs, [json.loads(text) for text in texts])
        seen["rules of the logs"] = log_rules_judge(logs, now_s())
        seen["vmalert"] = vmalert_takes(folder / "vmalert", logs)
        seen["lnav"] = lnav_reads(folder, log)
    finally:
        logs.end()
    if with_loki:
        seen["loki"] = loki_seen(folder / "loki", [json.loads(text) for text in texts])
    return seen


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Prove dashboards, rules and queries on real programs.")
    parser.add_argument("--seconds", type=float, default=120, help="how long chaos lasts")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 31))
    parser.add_argument("--keep", help="a folder for logs and data, which stay; default: a temporary one")
    parser.add_argument("--loki", action="store_true", help="ask the dashboard of the logs on a Loki, too")
    options = parser.parse_args()
    chosen = options.seconds, options.seed
    try:
        require_programs((*PROGRAMS, "loki") if options.loki else PROGRAMS)
        if options.keep:
            Path(options.keep).mkdir(parents=True)
            seen = prove(Path(options.keep), *chosen, with_loki=options.loki)
        else:
            with tempfile.TemporaryDirectory(prefix="order-facts-observability-") as folder:
                seen = prove(Path(folder), *chosen, with_loki=options.loki)
    except ServicesError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(json.dumps(seen, indent=2))


if __name__ == "__main__":
    main()
