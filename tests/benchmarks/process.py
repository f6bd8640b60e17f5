"""A process that is measured: its CPU time, to the end, and the most memory it held."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

STOP_S = 60.0
POLL_S = 0.05
LOG_LINES = 25


@dataclass(frozen=True)
class Usage:
    """What a process used in its life: CPU seconds (user and system, its children's too) and bytes of memory."""

    cpu_s: float
    peak_rss_bytes: int


class EndedError(Exception):
    """A measured process ended by itself, or did not end when told to."""


class Measured:
    """A running process with its log, started on the core that `placed`, a context, stands for."""

    def __init__(self, command, environment, folder, log, placed):
        self.log = log
        with log.open("wb") as stream, placed:
            self._popen = subprocess.Popen(command, env=environment, cwd=folder, stdout=stream, stderr=stream)
        self._ended = None  # status and resources of a process that was waited for

    @property
    def pid(self):
        """The process id."""
        return self._popen.pid

    def check(self):
        """Raise EndedError if the process is not there any more."""
        if self._reap(os.WNOHANG):
            raise EndedError(f"ended with {self._popen.returncode}\n{self._tail()}")

    def pause(self):
        """Keep it from running until `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self):
        """Let it run; nothing, if it does."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self):
        """End the process as an operator does, and give what it used."""
        self.check()
        peak = peak_rss_bytes(self.pid)
        self._popen.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while not self._reap(os.WNOHANG):
            if time.monotonic() > deadline:
                self.kill()
                raise EndedError(f"did not end within {STOP_S:g} s\n{self._tail()}")
            time.sleep(POLL_S)
        if self._popen.returncode not in {0, -signal.SIGTERM, 128 + signal.SIGTERM}:
            raise EndedError(f"ended with {self._popen.returncode}\n{self._tail()}")
        used = self._ended
        assert used is not None
        most = used.ru_maxrss if sys.platform == "darwin" else used.ru_maxrss * 1024
        return Usage(used.ru_utime + used.ru_stime, peak if peak is not None else most)

    def kill(self):
        """Leave nothing behind, whatever state it is in."""
        if self._ended is None:
            self._popen.kill()
            self._reap(0)

    def _reap(self, options):
        """Tell whether the process has ended; wait4 is what tells its resources, and only once."""
        if self._ended is None:
            pid, status, used = os.wait4(self.pid, options)
            if pid == 0:
                return False
            self._ended = used
            self._popen.returncode = os.waitstatus_to_exitcode(status)
        return True

    def _tail(self):
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])


def cpu_s(pid):
    """Give the CPU seconds that a process has used so far; None where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold anything
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def peak_rss_bytes(pid):
    """Give the most memory that a process has held so far; None where the system does not tell.

    (The resources of an ended process would do, but Linux counts the starter's own memory there.)
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
