"""A server process of our own: starts it on free ports, waits for it, signals it, and never leaves it behind.

Takes a folder for the server's data and log; prints nothing. `embedded_kafka` and `embedded_redis` say what each kind
of server needs: its configuration, its command, how to see that it answers.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOST = "127.0.0.1"
GUARD = Path(__file__).with_name("guard.py")
START_S = 60.0  # a bound, not a wait: a start takes one to three seconds, more on a busy machine
STOP_S = 15.0
POLL_S = 0.02
START_ATTEMPTS = 5
TAKEN = ("already in use", "in use by another process")  # as Redis and Kafka say it, and the registry
LOG_TAIL_LINES = 15
# Below the ports that Linux (32768+) and macOS (49152+) use for outgoing connections: a restarted server finds its port
# free, and a client that reconnects meanwhile never connects to itself.
PORTS = range(15_000, 32_000)


class ServicesError(Exception):
    """A service is not available; the message says what to do."""


def free_ports(count: int) -> list[int]:
    """Return distinct ports of this machine that nothing listens on now (another process may still take one)."""
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = PORTS[secrets.randbelow(len(PORTS))]
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                ports.append(port)
        return ports


class GuardedProcess:
    """A running command under `guard.py`: it ends by a signal, or when this process ends."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        log: Path,
        abandoned: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start `command` in `folder`; `abandoned` is removed if this process ends without a stop.

        Without an `environment` it gets this process's. Raises `ServicesError` if the command cannot be executed.
        """
        with log.open("ab") as log_file:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), str(abandoned or ""), *command],
                bufsize=0,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                env=environment,
                start_new_session=True,
            )
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        self._orders, self._replies = self._guard.stdin, self._guard.stdout
        line = self._replies.readline()
        if not line:
            self.wait(STOP_S)
            raise ServicesError(f"{command[0]} cannot be executed:\n{tail(log, 0)}")
        self.pid = int(line)

    def exit_code(self) -> int | None:
        """Return the server's exit code, or minus the signal that ended it; None while it runs or is paused."""
        return self._guard.returncode if self.wait(0) else None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server and all its children; nothing happens if it has ended."""
        if self._orders.closed:
            return
        with contextlib.suppress(BrokenPipeError):
            self._orders.write(bytes([number]))
            self._replies.read(1)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the server has ended, and close its pipes; return whether it has ended."""
        try:
            self._guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        self._orders.close()
        self._replies.close()
        return True


class EmbeddedServer(ABC):
    """A server with private data in a folder. Not for several threads at once.

    `start` may be called again after `stop` or `kill`: ports and folder stay the same.
    """

    def __init__(self, folder: Path, port_count: int, abandoned: Path | None) -> None:
        self.folder = Path(folder).absolute()
        self.log = self.folder / "server.log"
        self._ports = free_ports(port_count)
        self._abandoned = abandoned
        self._process: GuardedProcess | None = None
        self._keeps_ports = False

    @abstractmethod
    def _prepare(self) -> list[str]:
        """Write the server's configuration; return its command, which runs in the folder."""

    @abstractmethod
    def _answers(self) -> bool:
        """Return whether this server, not another on its port, answers; may wait a second."""

    @property
    def pid(self) -> int:
        """The process id of the running server itself."""
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it answers; on the first start, take other ports if these are taken.

        Raises `ServicesError` with the log's last lines if it does not answer within `START_S` seconds.
        """
        assert self._process is None, "already started"
        self.folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, START_ATTEMPTS + 1):
            log_start = self.log.stat().st_size if self.log.exists() else 0
            self._process = GuardedProcess(self._prepare(), self.folder, self.log, self._abandoned)
            try:
                self._await_answer(log_start)
            except ServicesError as error:
                self.kill()
                taken = any(words in str(error) for words in TAKEN)
                if self._keeps_ports or not taken or attempt == START_ATTEMPTS:
                    raise
                self._ports = free_ports(len(self._ports))
            except BaseException:
                self.kill()
                raise
            else:
                self._keeps_ports = True
                return

    def stop(self, patience_s: float = STOP_S) -> bool:
        """End the server by SIGTERM, even if it is paused; by SIGKILL if that takes longer, and then return False."""
        return self._end(signal.SIGTERM, patience_s)

    def kill(self) -> None:
        """End the server by SIGKILL: it cannot close connections or write anything."""
        self._end(signal.SIGKILL, STOP_S)

    def pause(self) -> None:
        """Freeze the server: connections stay open and nothing answers."""
        assert self._process is not None, "not started"
        self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server continue."""
        assert self._process is not None, "not started"
        self._process.send(signal.SIGCONT)

    def _end(self, number: signal.Signals, patience_s: float) -> bool:
        if self._process is None:
            return True
        self._process.send(number)
        self._process.send(signal.SIGCONT)
        is_ended = self._process.wait(patience_s)
        if not is_ended:
            self._process.send(signal.SIGKILL)
            self._process.wait(STOP_S)
        self._process = None
        return is_ended

    def _await_answer(self, log_start: int) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_S
        while not (accepts_connections(self._ports[0]) and self._answers()):
            if self._process.exit_code() is not None:
                raise ServicesError(f"{self.log.parent.name} ended at once:\n{tail(self.log, log_start)}")
            if time.monotonic() > deadline:
                raise ServicesError(f"{self.log.parent.name} is silent:\n{tail(self.log, log_start)}")
            time.sleep(POLL_S)


def accepts_connections(port: int) -> bool:
    """Return whether something listens on the port of this machine."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def tail(log: Path, start: int) -> str:
    """Return the last lines of a log, from byte `start` on."""
    lines = log.read_bytes()[start:].decode(errors="replace").splitlines()
    return "\n".join(lines[-LOG_TAIL_LINES:])
