"""Measure: `python -m tests.benchmarks`, or `make bench`. See README.md here.

Prints Markdown tables, writes all figures as JSON, and draws the throughput as SVG. Exit codes: 0 done; 1 a program
failed or its outputs are wrong; 3 no services to run on.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from pathlib import Path

from deploy.local.programs import CACHE, kafka_version
from deploy.local.servers import ServicesError
from tests.benchmarks import (
    backlog,
    formats,
    index_build,
    latency,
    rebuild,
    redis_kinds,
    replicas,
    report,
    segments,
    state,
    throughput,
)
from tests.benchmarks.audit import WrongOutputsError
from tests.benchmarks.cores import Cores
from tests.benchmarks.load import CONTACTS
from tests.benchmarks.process import EndedError
from tests.benchmarks.programs import PROGRAMS
from tests.benchmarks.stage import Stage

PARTS = {
    "throughput": throughput.measure,
    "latency": latency.measure,
    "orders": state.measure_orders,
    "identifiers": state.measure_identifiers,
    "contacts": index_build.measure,
    "rebuild": rebuild.measure,
    "replicas": replicas.measure,
    "backlog": backlog.measure,
    "formats": formats.measure,
    "segments": segments.measure,
    "redis": redis_kinds.measure,
}
INDEXED = 200_000
DEFAULT_OUTPUT = CACHE / "bench" / "results.json"


def main(arguments=None):
    """Run the chosen parts; give the exit code."""
    options = _options(arguments)
    if options.render:
        results = json.loads(options.render.read_text(encoding="utf-8"))
        _say_written(report.write(results, options.output))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the clean-up, as Ctrl-C goes
    cores = Cores()
    results = {"machine": _machine(cores), "options": _described(options)}
    for name in options.programs:
        PROGRAMS[name].prepare()
    cores.keep_to_services()
    try:
        for part in options.only:
            _say(f"-- {part}")
            results[part] = _staged(PARTS[part], options, cores)
            report.save(results, options.output)  # what was measured is kept, whatever comes
    except (EndedError, WrongOutputsError) as error:
        print(error, file=sys.stderr)
        return 1
    except ServicesError as error:
        print(error, file=sys.stderr)
        return 3
    _say_written(report.write(results, options.output))
    return 0


def _staged(part, options, cores):
    """Run a part on services of its own, so that none finds what another one left."""
    with tempfile.TemporaryDirectory(prefix="order-facts-bench-") as folder:
        stage = Stage(Path(folder), cores)
        try:
            return part(stage, options, _say)
        finally:
            stage.close()


def _options(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure order-facts and others.")
    parser.add_argument("--only", type=_several(PARTS), default=list(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--programs", type=_several(PROGRAMS), default=list(PROGRAMS), help=f"of {','.join(PROGRAMS)}")
    parser.add_argument("--events", type=int, default=300_000, help="events of one run")
    parser.add_argument("--contacts", type=int, default=CONTACTS)
    parser.add_argument("--indexed", type=int, default=INDEXED, help="contacts of the part contacts")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions of all but backlog")
    parser.add_argument(
        "--backlog", type=int, help="events of the shorter backlog; the longer one has ten times as many"
    )
    parser.add_argument("--large", action="store_true", help="ten times the state, five times the backlog")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="JSON; tables and plot go beside it")
    parser.add_argument("--render", type=Path, help="make tables and plot of earlier results, measure nothing")
    return parser.parse_args(arguments)


def _several(known):
    def parse(text):
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known are {', '.join(known)}")
        return names

    return parse


def _machine(cores):
    return {
        "count": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)),
        "cores": str(cores),
        "python": platform.python_version(),
        "kafka": kafka_version(),
    }


def _described(options):
    return {name: getattr(options, name) for name in ("events", "contacts", "indexed", "repeat", "large")}


def _say_written(paths):
    _say(f"-- written: {', '.join(map(str, paths))}")


def _say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
