"""The process that forks for each command: it has imported the program, so that a command need not.

    python -m tests.support.prepared DESCRIPTOR

A command that starts anew imports for 0.3 s of CPU time; the suite starts a thousand. The descriptor is a socket to the
process that starts commands (`forking.py`), and its end is the end. A request is the length of a JSON text in four
bytes, with six descriptors, then the text: a module, its arguments, its environment. For each one a guard is forked,
which does what `deploy/local/guard.py` does, and which forks the command: a process of its own, in a group of its own,
that runs the module as `python -m` would.

The descriptors: the command's three streams, the pipe of orders to the guard, the pipe of its replies, and one for the
exit code at the end (minus the signal that ended the command).
"""

import contextlib
import gc
import json
import os
import runpy
import signal
import socket
import sys
import time
from importlib import import_module

from deploy.local.guard import children_wake_up, obey
from processor.cli import cli

HEAD_BYTES = 4
DESCRIPTORS = 6


def main():
    """Serve requests until the other end closes. Return a request, in the process that is to run it."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    for name in cli.list_commands(None):  # type: ignore[arg-type]
        import_module(f"processor.cli.{name}")
    gc.collect()
    gc.freeze()  # what was imported is nobody's garbage, and its memory stays shared
    while True:
        head, descriptors, _, _ = socket.recv_fds(connection, HEAD_BYTES, DESCRIPTORS)
        if not head:
            os._exit(0)  # there is nothing to clean up, and taking all modules apart takes a while
        request = json.loads(_read(connection, int.from_bytes(head, "big")))
        if not os.fork():
            connection.close()
            _guard(*descriptors)
            return request
        for descriptor in descriptors:
            os.close(descriptor)
        _reap()


def _read(connection, count):
    text = b""
    while len(text) < count:
        text += connection.recv(count - len(text))
    return text


def _reap():
    """Take the exit codes of guards that have ended: each has told its command's."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


class _Child:
    """The command, for its guard."""

    returncode: int | None = None

    def __init__(self, pid):
        self.pid = pid

    def poll(self, options=os.WNOHANG):
        """Return the exit code, None while the command runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


def _guard(stdin, stdout, stderr, orders, replies, ended):
    """Fork the command, and return in it only: the guard obeys orders until the command has ended, then ends."""
    os.setsid()
    wake_up = children_wake_up()
    pid = os.fork()
    if not pid:
        os.setpgid(0, 0)
        os.close(signal.set_wakeup_fd(-1))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, descriptor in enumerate((stdin, stdout, stderr)):
            os.dup2(descriptor, number)
        for descriptor in (stdin, stdout, stderr, orders, replies, ended, wake_up):
            os.close(descriptor)
        return
    with contextlib.suppress(OSError):  # both do it: an order may come before the child's turn, or after its end
        os.setpgid(pid, pid)
    os.dup2(orders, 0)
    os.dup2(replies, 1)
    for descriptor in (stdin, stdout, stderr, orders, replies):
        os.close(descriptor)
    child = _Child(pid)
    try:
        os.write(1, b"%d\n" % pid)
        obey(child, wake_up)  # type: ignore[arg-type] # it asks for no more than what a child has here
    finally:
        if child.poll() is None:
            os.killpg(pid, signal.SIGKILL)
            child.poll(0)
        with contextlib.suppress(BrokenPipeError):
            os.write(ended, str(child.returncode).encode())
        os._exit(0)


if __name__ == "__main__":
    asked = main()
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    gc.enable()
    sys.argv = [sys.argv[0], *asked["arguments"]]
    runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
