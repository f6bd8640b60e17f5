"""The dashboard of the logs on a real Loki: each of its queries gives values, and counts what it should.

Loki has no package in Debian; built from its Go module it takes half an hour, so `make observability-test` asks it only
with LOKI=1. By itself this takes a file of log lines: `python -m tests.observability.loki_seen FILE`.
"""

import json
import sys
import tempfile
from pathlib import Path

from deploy.observability.log_queries import STREAM, How, logql
from deploy.observability.panels import PANELS
from processor.logs import SERVICE
from tests.observability.servers import LOKI_LABEL, Loki, moment_ns, require_programs

STEP_S = 10
SPAN = (-STEP_S * 10**9, 2 * STEP_S * 10**9)  # beyond the first and the last line, so that the ranges cover all
RARE = frozenset({"Partitions that give nothing"})


def loki_seen(folder, lines):
    """Give the lines to a Loki and ask it every query; give how many values each panel has."""
    loki = Loki(folder)
    try:
        loki.add(lines)
        span = tuple(moment_ns(line) + beyond for line, beyond in zip((lines[0], lines[-1]), SPAN, strict=True))
        found = {}
        asked = {panel.title: panel.logged for panel in PANELS if panel.logged is not None}
        for title, one in asked.items():
            values = [value for query, _ in logql(one) for value in _values(loki, query, span)]
            found[title] = len(values)
            if one.how is How.TIMES and one.events:
                happened = sum(1 + line.get("repeated", 0) for line in lines if line["event"] in one.events)
                counted = sum(map(float, values))
                assert counted == happened, f"{title}: {counted} of {happened}"
        empty = [title for title, count in found.items() if not count and title not in RARE]
        assert not empty, f"no values: {empty}"
        return {"lines": len(lines), "values by panel": found}
    finally:
        loki.end()


def _values(loki, query, span):
    """Ask a panel's query, its variables filled in as Grafana does."""
    filled = query.replace(STREAM, f'{{{LOKI_LABEL}="{SERVICE}"}}').replace("$__auto", f"{STEP_S}s")
    return loki.values(filled, *span, STEP_S)


def main():
    """Ask of the lines in a file; print what was seen."""
    require_programs(("loki",))
    texts = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory(prefix="order-facts-loki-") as folder:
        print(
            json.dumps(loki_seen(Path(folder), [json.loads(text) for text in texts if text.startswith("{")]), indent=2)
        )


if __name__ == "__main__":
    main()
