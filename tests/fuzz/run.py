"""One run of the fuzz: `python -m tests.fuzz.run --seconds 300 --seed 7`, or `make fuzz`.

Four engines in turn, each a process of its own: the largest records, what Hypothesis draws, schemas that a hostile
registry gives, and what coverage guides.
Prints a summary as JSON. Exits with 1 where a promise is broken; the smallest input of each fault is then in a file,
which `--replay FILE` plays again; a large record is played again by `--large NAME`.
"""

import argparse
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz import large
from tests.fuzz.case import of_json
from tests.fuzz.checking import LIMIT_MS, BrokenError, Checker
from tests.fuzz.session import case_in_hand, cases_begun, save

PROJECT = Path(__file__).parents[2]
KEPT = PROJECT / ".cache" / "fuzz"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
LOCK = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
EXTRA = KEPT / f"python-{sys.version_info.major}.{sys.version_info.minor}-{LOCK}"
MODULES = {name: ("tests.fuzz.engines", name) for name in ("large", "structured", "foreign")}
SHARES = {"large": 0.2, "structured": 0.3, "foreign": 0.2, "guided": 0.3}
STUCK_S = 120.0
POLL_S = 0.2
# Hypothesis and libFuzzer remember things too.
GROWTH_MIB = {"large": 96.0, "structured": 24.0, "foreign": 24.0, "guided": 48.0}


def fuzz(seconds, seed, limit_ms, folder):
    """Run the engines and give the summary."""
    engines: dict[str, tuple[str, ...]] = dict(MODULES)
    if has_atheris():
        engines["guided"] = ("tests.fuzz.guided",)
    whole = sum(SHARES[name] for name in engines)
    reports = {}
    for name, module in engines.items():
        share = seconds * SHARES[name] / whole
        print(f"{name}: {share:.0f} s", file=sys.stderr, flush=True)
        place = folder / name
        place.mkdir()
        reports[name] = _run(name, module, place, (share, seed, limit_ms))
    return _summary(seed, reports, guided="guided" in engines)


def has_atheris():
    """Install Atheris apart from everything else, where there is a wheel of it; tell whether it is there."""
    if not EXTRA.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as folder:
            target = Path(folder) / "packages"
            pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
            options = ("--require-hashes", "--only-binary", ":all:", "--no-deps", "--target", target)
            done = subprocess.run((*pip, *options, "--requirement", REQUIREMENTS), stdout=sys.stderr, check=False)
            if done.returncode == 0 and (target / "atheris").is_dir():
                target.rename(EXTRA)
    if not EXTRA.exists():
        print("no Atheris for this machine: not guided by coverage", file=sys.stderr)
    return EXTRA.exists()


def _run(name, module, place, options):
    """Run one engine to its end and give its report; what it died of or is stuck in is a failure too."""
    seconds, seed, limit_ms = options
    arguments = ("--seconds", str(seconds), "--seed", str(seed), "--limit-ms", str(limit_ms))
    environment = os.environ | {"PYTHONPATH": str(EXTRA), "PYTHONFAULTHANDLER": "1"}
    log = place / "log"
    with log.open("wb") as stream:
        command = (sys.executable, "-m", *module, place, *arguments)
        child = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=stream, stderr=stream)
    try:
        is_stuck = _await_end(child, place)
    finally:
        child.kill()
        child.wait()
    report_path = place / "report.json"
    if child.returncode == 0 and report_path.exists():
        report = json.loads(report_path.read_text(encoding="utf-8"))
    else:
        report = _of_the_dead(place, f"{name}: " + ("stuck" if is_stuck else f"ended with {child.returncode}"))
        sys.stderr.write(log.read_text(encoding="utf-8", errors="replace")[-3_000:])
    if name == "guided":
        _confirm(report, limit_ms)
        report |= _libfuzzer(log.read_text(encoding="utf-8", errors="replace"))
    growth = report.get("rss_mib_end", 0) - report.get("rss_mib_start", 0)
    if growth > GROWTH_MIB[name]:
        report["failures"]["memory"] = {"what": f"{growth:.1f} MiB more at the end, the bound is {GROWTH_MIB[name]}"}
    return report


def _await_end(child, place):
    """Wait for an engine's end; give whether it was stuck in a case."""
    seen, moved = 0, time.monotonic()
    while child.poll() is None:
        time.sleep(POLL_S)
        count = cases_begun(place)
        if count != seen:
            seen, moved = count, time.monotonic()
        elif time.monotonic() - moved > STUCK_S:
            return True
    return False


def _of_the_dead(place, signature):
    case = case_in_hand(place)
    failure = {"what": signature}
    if case is not None:
        failure |= {"bytes": case.size, "input": str(save(case, place, signature))}
    return {"records": 0, "seconds": 0, "slowest_ms": 0, "reasons": {}, "failures": {signature: failure}}


def _confirm(report, limit_ms):
    """Drop what was only slow since coverage is watched: play it again without."""
    for signature, failure in list(report["failures"].items()):
        if signature.startswith(("slow", "hang")) and not broken(failure["input"], limit_ms):
            del report["failures"][signature]


def broken(path, limit_ms=LIMIT_MS):
    """Play a kept input again; give what is broken, or None."""
    return _broken_case(of_json(Path(path).read_bytes()), limit_ms)


def _broken_case(case, limit_ms):
    try:
        Checker(limit_ms).check(case)
    except (BrokenError, AssertionError) as error:
        return str(error)
    return None


def _libfuzzer(log):
    """Give what libFuzzer says it has covered."""
    lines = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)/", log)
    return dict(zip(("edges", "features", "corpus"), map(int, lines[-1]), strict=True)) if lines else {}


def _summary(seed, reports, *, guided):
    reasons, failures, slow_ms = Counter[str](), dict[str, dict](), dict[str, float]()
    for report in reports.values():
        reasons.update(report.pop("reasons"))
        failures |= report.pop("failures")
        slow_ms |= report.pop("slow_ms", {})
    for failure in failures.values():
        if "input" in failure:
            KEPT.mkdir(parents=True, exist_ok=True)
            kept = KEPT / Path(failure["input"]).name
            failure["input"] = str(Path(shutil.move(failure["input"], kept)).relative_to(PROJECT))
    return {
        "seed": seed,
        "guided_by_coverage": guided,
        "records": sum(report["records"] for report in reports.values()),
        "seconds": round(sum(report["seconds"] for report in reports.values()), 1),
        "slowest_ms": max(report["slowest_ms"] for report in reports.values()),
        "engines": reports,
        "outcomes": dict(reasons.most_common()),
        "large_records_over_limit_ms": dict(sorted(slow_ms.items(), key=lambda entry: -entry[1])),
        "failures": failures,
    }


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Send what nobody should to the pure path; require facts or reasons.")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--limit-ms", type=float, default=LIMIT_MS, help="CPU time that a record may take")
    parser.add_argument("--replay", type=Path, help="play the input of this file again, and nothing else")
    parser.add_argument("--large", choices=large.KINDS, metavar="NAME", help="play one of the large records, by name")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the clean-up, as Ctrl-C goes
    if options.replay:
        sys.exit(broken(options.replay, options.limit_ms))
    if options.large:
        sys.exit(_broken_case(large.named(options.large), options.limit_ms))
    seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
    print(f"seed {seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="order-facts-fuzz-") as folder:
        summary = fuzz(options.seconds, seed, options.limit_ms, Path(folder))
    print(json.dumps(summary, indent=2))
    sys.exit(1 if summary["failures"] or summary["large_records_over_limit_ms"] else 0)


if __name__ == "__main__":
    main()
