"""One engine's run, in a process of its own: plays cases until the time is up, keeps failures, writes its report.

The case in hand stands in a file mapped into memory, so that the process that started this one has it even where this
one dies of it or never comes back.
"""

import hashlib
import json
import mmap
import os
import struct
import time
import traceback
from pathlib import Path

import msgspec

from tests.fuzz.case import Case, as_json
from tests.fuzz.checking import BrokenError, Checker, SlowError
from tests.fuzz.large import KINDS
from tests.support.measuring import fifths, held_by

SAMPLE_S = 0.5
MOST_FAILURES = 50
_HEAD = struct.Struct("<QQ")  # how many cases were begun, and how long the case in hand is
_ROOM = 16 << 20
CURRENT = "current"


class Session:
    """Plays cases for so many seconds."""

    def __init__(self, folder, seconds, limit_ms):
        self.folder = Path(folder)
        self.checker = Checker(limit_ms)
        self._begun = time.monotonic()
        self._seconds = seconds
        self._sampled = 0.0
        self._rss = []
        self._cases = 0
        self.failures = {}
        self.slow_ms = {}  # of the records that have a name of their own
        self._pack = msgspec.msgpack.Encoder().encode
        self._current = open_current(self.folder, create=True)

    @property
    def has_failed(self):
        """Tell whether any case failed so far."""
        return bool(self.failures or self.slow_ms)

    def is_over(self):
        """Tell whether the time is up."""
        return time.monotonic() - self._begun >= self._seconds

    def play(self, case):
        """Check a case; keep it where it fails, and raise what it failed by."""
        packed = self._pack(case)
        self._cases += 1
        self._current[: _HEAD.size + len(packed)] = _HEAD.pack(self._cases, len(packed)) + packed
        try:
            self.checker.check(case)
        except Exception as error:
            self._keep(case, error)
            raise
        finally:
            self._sample()

    def report(self, **more):
        """Write what was seen, for the process that started this one."""
        levels = [round(level, 1) for level in fifths(self._rss or [held_by(os.getpid()).rss_mib])]
        report = {
            "records": self.checker.records,
            "compared_with_reference": self.checker.compared,
            "seconds": round(time.monotonic() - self._begun, 1),
            "slowest_ms": round(self.checker.slowest_ms, 1),
            "slowest": self.checker.slowest_name,
            "rss_mib_start": levels[1],
            "rss_mib_end": levels[-1],
            **more,
            "reasons": dict(self.checker.reasons),
            "slow_ms": self.slow_ms,
            "failures": self.failures,
        }
        (self.folder / "report.json").write_text(json.dumps(report), encoding="utf-8")

    def _sample(self):
        now = time.monotonic()
        if now - self._sampled >= SAMPLE_S:
            self._sampled = now
            self._rss.append(held_by(os.getpid()).rss_mib)

    def _keep(self, case, error):
        """Keep the smallest case of each kind of failure."""
        if isinstance(error, SlowError) and case.name in KINDS:
            self.slow_ms[case.name] = round(error.cpu_ms)
            return
        if isinstance(error, BrokenError):
            signature = error.signature
        else:
            place = traceback.extract_tb(error.__traceback__)[-1]
            signature = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
        known = self.failures.get(signature)
        if (known is None and len(self.failures) < MOST_FAILURES) or (known and case.size < known["bytes"]):
            path = save(case, self.folder, signature)
            self.failures[signature] = {"bytes": case.size, "what": str(error)[:300], "input": str(path)}


def save(case, folder, signature):
    """Write a case to a file named by its failure."""
    path = Path(folder) / f"failure-{hashlib.sha256(signature.encode()).hexdigest()[:12]}.json"
    path.write_bytes(as_json(case))
    return path


def open_current(folder, *, create=False):
    """Map the file of the case in hand."""
    path = Path(folder) / CURRENT
    if create:
        path.write_bytes(b"")
        os.truncate(path, _ROOM)
    with path.open("r+b") as stream:
        return mmap.mmap(stream.fileno(), _ROOM)


def cases_begun(folder):
    """Give how many cases an engine has begun so far."""
    try:
        with (Path(folder) / CURRENT).open("rb") as stream:
            head = stream.read(_HEAD.size)
    except FileNotFoundError:
        return 0
    return _HEAD.unpack(head)[0] if len(head) == _HEAD.size else 0


def case_in_hand(folder):
    """Give the case that an engine died of, or None where it had begun none. It must not run any more."""
    if not cases_begun(folder):
        return None
    with open_current(folder) as current:
        _, length = _HEAD.unpack(current[: _HEAD.size])
        return msgspec.msgpack.decode(current[_HEAD.size : _HEAD.size + length], type=Case)
