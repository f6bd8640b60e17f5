"""Commands of the program without their imports: forked from a process that has them (`prepared.py`).

Only where it makes no difference: what the interpreter or the C library reads at its start must be as here. Outside
`make test` (chaos, soak, benchmarks), where it is not switched on, every command starts anew.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from tests.support.prepared import HEAD_BYTES

PROJECT = Path(__file__).parents[2]
READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")
_CODE_BYTES = 16


class Forks:
    """The prepared process of this process: started by the first command, and ended with the block."""

    def __init__(self):
        self._server = None
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def switched_on(self):
        """Fork commands in the block."""
        global current  # noqa: PLW0603 - what starts commands is far below what decides how
        before, current = current, self
        try:
            yield
        finally:
            current = before
            if self._server is not None:
                self._connection.close()
                self._server.wait()

    def start(self, module, arguments, environment, streams):
        """Start a module; its standard streams are these descriptors, which stay the caller's to close."""
        text = json.dumps({"module": module, "arguments": [*map(str, arguments)], "environment": dict(environment)})
        with self._lock, contextlib.ExitStack() as passed:
            if self._server is None:
                self._prepare()
            orders, replies, ended = os.pipe(), os.pipe(), os.pipe()
            theirs = [orders[0], replies[1], ended[1]]
            for descriptor in theirs:
                passed.callback(os.close, descriptor)
            body = text.encode()
            socket.send_fds(self._connection, [len(body).to_bytes(HEAD_BYTES, "big")], [*streams, *theirs])
            self._connection.sendall(body)
        return ForkedProcess(orders[1], replies[0], ended[0])

    def _prepare(self):
        self._connection, other = socket.socketpair()
        with other:
            self._server = subprocess.Popen(
                (sys.executable, "-m", "tests.support.prepared", str(other.fileno())),
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                start_new_session=True,
            )


current: Forks | None = None  # where commands are forked, the process to fork them from


def forks_for(environment):
    """Return what forks a command with this environment, None where it must start anew."""
    return current if current is not None and _at_start(environment) == _at_start(os.environ) else None


def _at_start(environment):
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_START)}


class ForkedProcess:
    """A running command, as `GuardedProcess` has it."""

    def __init__(self, orders, replies, ended):
        self._orders, self._ended = os.fdopen(orders, "wb", 0), os.fdopen(ended, "rb", 0)
        self._replies = os.fdopen(replies, "rb", 0)
        self._code = None
        line = self._replies.readline()
        assert line, "the prepared process has ended"
        self.pid = int(line)

    def exit_code(self):
        """Return the exit code, or minus the signal that ended the command; None while it runs or is paused."""
        return self._code if self.wait(0) else None

    def send(self, number):
        """Send a signal to the command and all its children; nothing happens if it has ended."""
        if self._orders.closed:
            return
        with contextlib.suppress(BrokenPipeError):
            self._orders.write(bytes([number]))
            self._replies.read(1)

    def wait(self, timeout_s):
        """Wait until the command has ended, and close its pipes; return whether it has ended."""
        if self._code is None:
            if not select.select([self._ended], [], [], timeout_s)[0]:
                return False
            self._code = int(self._ended.read(_CODE_BYTES))
            for pipe in (self._orders, self._replies, self._ended):
                pipe.close()
        return True


def run_forked(forks, module, arguments, environment, text, timeout_s):
    """Run a command to its end and return the completed process, its output as text; `text` is its input."""
    with contextlib.ExitStack() as files:
        stdin, stdout, stderr = streams = [files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)]
        stdin.write(text or "")
        stdin.seek(0)
        process = forks.start(module, arguments, environment, [stream.fileno() for stream in streams])
        if not process.wait(timeout_s):
            process.send(signal.SIGKILL)
            process.wait(timeout_s)
            raise subprocess.TimeoutExpired([module, *arguments], timeout_s)
        for stream in (stdout, stderr):
            stream.seek(0)
        return subprocess.CompletedProcess([module, *arguments], process.exit_code(), stdout.read(), stderr.read())
