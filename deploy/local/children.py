"""The commands that a demonstration runs: starts them, watches them, and ends them.

Each child writes its output and its log to files in one folder; nothing else of it is read. If a child ends too early,
ChildFailedError shows its last log lines. Leaving the `with` block of Children ends every child, first by SIGTERM. If
this process is killed, `guard.py` ends them and removes the folder.
"""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from deploy.local.servers import GUARD

STOP_TIMEOUT_S = 15.0
JOB_TIMEOUT_S = 120.0
POLL_INTERVAL_S = 0.05
LOG_LINES_SHOWN = 15
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# The guard sends output and log to one stream; the shell separates them again and becomes the command.
TO_FILE = ("sh", "-c", 'exec "$@" >"$0"')


class Interrupted(BaseException):
    """The user asks to stop; exit_code is the shell's (128 + the signal's number).

    Like KeyboardInterrupt this is not an error, and must not be caught as one.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number


class ChildFailedError(Exception):
    """A command failed; the text names it and shows the end of its log."""


class Interruptions:
    """Raises Interrupted at the first SIGINT, SIGTERM or SIGHUP, and ignores further ones during clean-up."""

    def __enter__(self) -> Self:
        for number in SIGNALS:
            signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Raise nothing from here on: only clean-up is left."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.end()
        raise Interrupted(number)


@dataclass(frozen=True, slots=True)
class Child:
    """A started command under its guard; a lasting one must not end by itself."""

    name: str
    guard: subprocess.Popen[bytes]
    output: Path
    log: Path
    is_lasting: bool

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the command; nothing happens if it has ended."""
        assert self.guard.stdin is not None
        if self.guard.stdin.closed:
            return
        with contextlib.suppress(BrokenPipeError):
            self.guard.stdin.write(bytes([number]))

    def last_log_lines(self) -> str:
        """Return the end of the log, indented."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-LOG_LINES_SHOWN:]) or "    (it logged nothing)"


class Children:
    """The commands of one demonstration, with the environment they share."""

    def __init__(
        self, command: Path, folder: Path, environment: Mapping[str, str], interruptions: Interruptions
    ) -> None:
        self._command = command
        self._folder = folder
        self._environment = environment
        self._interruptions = interruptions
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._interruptions.end()
        _end(self._children)

    def serve(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Child:
        """Start a command that runs until the end; `environment` is added to the shared one."""
        return self._start(name, arguments, {**self._environment, **(environment or {})}, is_lasting=True)

    def begin(self, name: str, *arguments: str) -> Child:
        """Start a command that ends by itself, with exit code 0."""
        return self._start(name, arguments, self._environment, is_lasting=False)

    def finish(self, child: Child) -> Path:
        """Wait for a command to end by itself while all others are alive; return the file of its output."""
        deadline = time.monotonic() + JOB_TIMEOUT_S
        while child.guard.poll() is None:
            self.check()
            if time.monotonic() > deadline:
                log = child.last_log_lines()
                raise ChildFailedError(f"{child.name} took longer than {JOB_TIMEOUT_S:.0f} s\n{log}")
            time.sleep(POLL_INTERVAL_S)
        self.check()
        return child.output

    def check(self) -> None:
        """Raise ChildFailedError if a child failed, or a lasting one ended."""
        for child in self._children:
            code = child.guard.poll()
            if code is not None and (child.is_lasting or code != 0):
                raise ChildFailedError(f"{child.name} ended with exit code {code}\n{child.last_log_lines()}")

    def stop(self, *children: Child) -> None:
        """End these children; the others keep running."""
        _end(children)
        self._children = [child for child in self._children if child not in children]

    def last_log_lines(self) -> str:
        """Return the end of every lasting child's log, under its name."""
        lasting = [child for child in self._children if child.is_lasting]
        return "\n".join(f"  {child.name}:\n{child.last_log_lines()}" for child in lasting)

    def _start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], *, is_lasting: bool) -> Child:
        file_name = name.replace(" ", "-")
        output, log = self._folder / f"{file_name}.out", self._folder / f"{file_name}.log"
        output.touch()
        with log.open("wb") as stderr:
            guard = subprocess.Popen(
                [sys.executable, "-I", "-S", GUARD, self._folder, *TO_FILE, output, self._command, *arguments],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=dict(environment),
                # A Ctrl-C in the terminal reaches only the demonstration, which ends its children in order.
                start_new_session=True,
            )
        child = Child(name, guard, output, log, is_lasting)
        self._children.append(child)
        return child


def _end(children: Sequence[Child]) -> None:
    """End children together: SIGTERM to all, SIGKILL to those still there after STOP_TIMEOUT_S."""
    for child in children:
        child.send(signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    for child in children:
        try:
            child.guard.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.send(signal.SIGKILL)
            child.guard.wait()
        child.guard.communicate()  # closes the pipes
