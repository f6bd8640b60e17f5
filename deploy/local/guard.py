"""Run one server and make sure that it does not outlive its owner, the process that started this guard.

    python -I -S guard.py FOLDER COMMAND...

Standard input is a pipe from the owner: each byte is a signal number for the server. Its end means that the owner is
gone, however it ended: then kill the server, and remove FOLDER if it is named. Standard output gives the server's
process id in a line, then one byte for each signal sent. Standard error is the server's log. The exit code is the
server's; a signal that ended the server also ends the guard.

The kernel closes a killed process's pipe, on Linux and macOS alike; PR_SET_PDEATHSIG exists only on Linux and fires
when the *thread* that forked ends. Guard and server each lead a session, so that a terminal's Ctrl-C reaches neither
of them. Uses only the standard library.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys

CHUNK_BYTES = 64


def main() -> int:
    """Start the server; obey until it ends or the owner is gone. Return the exit code, or end as the server did."""
    folder, *command = sys.argv[1:]
    wake_up = children_wake_up()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True)
    try:
        os.write(1, b"%d\n" % server.pid)
        if obey(server, wake_up):
            return server.returncode if server.returncode >= 0 else end_by(-server.returncode)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def end_by(number: int) -> int:
    """End by a signal; return 128 + its number if it does not end this process."""
    with contextlib.suppress(OSError):  # SIGKILL needs no default action
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


def children_wake_up() -> int:
    """Return a descriptor that becomes readable when a child changes its state."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return readable


def obey(server: "subprocess.Popen[bytes]", wake_up: int) -> bool:
    """Send signals; return True when the server has ended, False when the owner is gone.

    Only this reaps the server, so its process id cannot mean another process.
    """
    while True:
        ready, _, _ = select.select([0, wake_up], [], [])
        if wake_up in ready:
            os.read(wake_up, CHUNK_BYTES)
        if server.poll() is not None:
            return True
        if 0 in ready:
            numbers = os.read(0, CHUNK_BYTES)
            if not numbers:
                return False
            for number in numbers:
                with contextlib.suppress(PermissionError):  # macOS raises this if the server has just ended
                    os.killpg(server.pid, number)
            os.write(1, numbers)


if __name__ == "__main__":
    sys.exit(main())
