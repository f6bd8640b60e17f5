"""The commands a demonstration runs: started, watched while they run, and gone when it ends.

Each child writes its output and its log to files in one folder, which is all that is ever read of it. A child that
ends when it should not is a ChildFailedError with its last log lines. Leaving the `with` block of Children ends
every child, by SIGTERM first; an Interrupted, which is what SIGINT, SIGTERM and SIGHUP become, is never raised
between starting a child and knowing of it, nor while children are being ended.
"""

import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

STOP_TIMEOUT_S = 15.0
JOB_TIMEOUT_S = 120.0
POLL_INTERVAL_S = 0.05
LOG_LINES_SHOWN = 15
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):  # noqa: N818 - like KeyboardInterrupt: no error, and not to be caught as one
    """The user wants an end; exit_code says so in the shell's way (128 + the signal's number)."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number


class ChildFailedError(Exception):
    """A command did not do its work; the text names it and shows the end of its log."""


class Interruptions:
    """Makes signals raise Interrupted, once, and only while nothing holds them."""

    def __init__(self) -> None:
        self._pending: int | None = None
        self._is_held = False
        self._is_over = False

    def __enter__(self) -> Self:
        for number in SIGNALS:
            signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Raise an interruption that comes meanwhile only at the end of the block."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._pending is not None:
            self._raise(self._pending)

    def end(self) -> None:
        """Raise none from here on: what is left to do is to clean up."""
        self._is_over = True

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self._is_over:
            return
        if self._is_held:
            self._pending = number
        else:
            self._raise(number)

    def _raise(self, number: int) -> None:
        self.end()
        raise Interrupted(number)


@dataclass(frozen=True, slots=True)
class Child:
    """A started command; one that is lasting must not end before it is told to."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path
    log: Path
    is_lasting: bool

    def last_log_lines(self) -> str:
        """Give the end of the log, indented; what it wrote to its output instead where the log is empty."""
        lines = (self.log.read_bytes() or self.output.read_bytes()).decode(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-LOG_LINES_SHOWN:]) or "    (it wrote nothing)"


class Children:
    """The commands of one demonstration, with the settings they share."""

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._interruptions.end()
        self._stop(self._children)

    def serve(self, name: str, *arguments: str, settings: Mapping[str, str] | None = None) -> Child:
        """Start a command that runs until the end."""
        return self._start(name, arguments, {**self._environment, **(settings or {})}, is_lasting=True)

    def begin(self, name: str, *arguments: str) -> Child:
        """Start a command that ends by itself, with exit code 0."""
        return self._start(name, arguments, self._environment, is_lasting=False)

    def finish(self, child: Child) -> Path:
        """Wait for a command to end by itself, all others still living; give the file of its output."""
        deadline = time.monotonic() + JOB_TIMEOUT_S
        while child.process.poll() is None:
            self.check()
            if time.monotonic() > deadline:
                raise ChildFailedError(
                    f"{child.name} took longer than {JOB_TIMEOUT_S:.0f} s\n{child.last_log_lines()}"
                )
            time.sleep(POLL_INTERVAL_S)
        self.check()
        return child.output

    def check(self) -> None:
        """Raise ChildFailedError if a child failed, or ended although it is lasting."""
        for child in self._children:
            code = child.process.poll()
            if code is not None and (child.is_lasting or code != 0):
                raise ChildFailedError(f"{child.name} ended with exit code {code}\n{child.last_log_lines()}")

    def stop(self, *children: Child) -> None:
        """End these children before the others, which live on."""
        with self._interruptions.held():
            self._children = [child for child in self._children if child not in children]
            self._stop(children)

    def last_log_lines(self) -> str:
        """Give the end of every lasting child's log, under its name."""
        return "\n".join(
            f"  {child.name}:\n{child.last_log_lines()}" for child in self._children if child.is_lasting
        )

    def _start(
        self, name: str, arguments: tuple[str, ...], environment: Mapping[str, str], *, is_lasting: bool
    ) -> Child:
        file_name = name.replace(" ", "-")
        output, log = self._folder / f"{file_name}.out", self._folder / f"{file_name}.log"
        with self._interruptions.held(), output.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                [self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=dict(environment),
                # A Ctrl-C in the terminal is for the demonstration only, which ends its children in order.
                start_new_session=True,
            )
            child = Child(name, process, output, log, is_lasting)
            self._children.append(child)
        return child

    @staticmethod
    def _stop(children: tuple[Child, ...] | list[Child]) -> None:
        for child in children:
            if child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for child in children:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
