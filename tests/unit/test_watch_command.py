"""Proves the command `watch`: the text of a summary, what it says of lines that say nothing, and the live view."""

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from rich.console import Console

from processor.cli.watch import watch
from processor.errors import UsageError
from processor.watching.summary import summary
from processor.watching.view import WIDTH, duration, view
from processor.watching.watched import Watched
from tests.support.deployment import PROJECT
from tests.support.recorded_lines import batch, line, recorded, stats

LINES = (
    line(0, "service.started", topics="order-events", group_id="order-facts"),
    *(batch(second) for second in range(1, 11)),
    stats(10),
    batch(4, instance="replica-2", mirror_ms=None),
    stats(10, "replica-2", lag_records=None, freshness_s=None, partitions=[2, 3, 4, 7]),
    line(12, "service.waiting", instance="replica-2", level="warning", waiting_for="redis", error="Redis: refused"),
    line(14, "service.waiting", instance="replica-2", level="warning", waiting_for="redis", error="Redis: refused"),
    line(14, "kafka.client", instance="replica-2", level="error", message="FAIL: connection refused"),
    line(
        *(15, "contacts.stats"),
        instance="index",
        records=2_000,
        lag_records=3,
        freshness_s=7.4,
        skipped=0,
        records_per_s=4.5,
    ),
    line(16, "service.resumed", waiting_for="kafka", waited_ms=61_500),
    line(20, "healer.standby", instance="healer"),
    b"Traceback (most recent call last):",
)
SUMMARY = """\
2020-05-14 12:00:00 to 12:00:20 UTC, 20 s: 21 lines
Lines that say nothing here: 1 not JSON

Now
since 12:00:12 (8.0 s) replica-2: waits for redis: Redis: refused
                       deploy/RUNBOOK.md#service.waiting

Replicas; facts, ignored, invalid are events a second over 20 s
replica    state         facts  ignored  invalid  events  freshness  lag  partitions
replica-1  runs           20.0      3.0      2.0     500      1.2 s    7  0-1
replica-2  waits: redis    2.0      0.3      0.2      50          -    -  2-4, 7
total                     22.0      3.3      2.2     550      1.2 s   7+  0-4, 7

Other processes
instance  command          state    says
healer    rejected replay  standby  -
index     contacts index   runs     2,000 contact records, 3 behind, 7 s late, 0 skipped

Last warnings and errors
12:00:14 error kafka.client, replica-2: FAIL: connection refused
               deploy/RUNBOOK.md#kafka.client

Steps of a batch, ms: p50 / p99
replica         poll     decode     lookup       fold   commit       mirror
replica-1  1.5 / 1.5  4.0 / 4.0  3.0 / 3.0  5.0 / 5.0  20 / 20  0.50 / 0.50
replica-2  1.5 / 1.5  4.0 / 4.0  3.0 / 3.0  5.0 / 5.0  20 / 20            -
total      1.5 / 1.5  4.0 / 4.0  3.0 / 3.0  5.0 / 5.0  20 / 20  0.50 / 0.50

Rejected                                                  Waits that are over
reason             records  records/s  of all events      what for    times     in all    longest
order_unknown           66        3.3          12.0%      run: kafka      1  1 min 2 s  1 min 2 s
contact_not_found       44        2.2           8.0%

Also
batches: 11, starts: 1
"""


@pytest.fixture
def log(tmp_path):
    """Give a file of the lines."""
    file = tmp_path / "a.log"
    file.write_bytes(b"".join(one + b"\n" for one in LINES))
    return file


def printed(*arguments, given=b""):
    """Give what the command prints into a pipe."""
    result = CliRunner().invoke(watch, list(map(str, arguments)), input=given, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_a_summary_as_text(log):
    """Into a pipe the summary is this text, with --once and without, of a file and of standard input."""
    assert printed("--once", log) == SUMMARY
    assert printed(log) == SUMMARY


def test_standard_input_is_read_to_its_end(log):
    """Lines from a pipe, as of `kubectl logs`, are summed up; - and no name mean the same."""
    command = [sys.executable, "-m", "processor", "watch", "--once"]
    result = subprocess.run(command, cwd=PROJECT, input=log.read_bytes(), capture_output=True, check=True)
    assert (result.stdout.decode(), result.stderr) == (SUMMARY, b"")


def test_the_order_of_files_does_not_matter(tmp_path):
    """A log in three parts, in any order, is the same summary."""
    parts = [tmp_path / f"{number}.log" for number in range(3)]
    for number, part in enumerate(parts):
        part.write_bytes(b"".join(one + b"\n" for one in LINES[number * 7 : (number + 1) * 7]))
    assert {printed(*order) for order in (parts, parts[::-1], [parts[1], parts[0], parts[2]])} == {SUMMARY}


def test_lines_of_no_use_are_counted_and_named(tmp_path):
    """With log_format=console no line is JSON: the count, and what to do."""
    file = tmp_path / "a.log"
    file.write_bytes(b"2026-11-30 [info] batch.committed\n" * 3 + b'{"level": 30}\n')
    assert printed("--once", file) == (
        "No line of order-facts in 4 lines\n"
        "Lines that say nothing here: 3 not JSON, 1 JSON of something else; order-facts writes JSON with\n"
        "log_format=json\n"
    )


def test_a_file_that_is_not_there_is_wrong_usage():
    """One line that names it, and exit code 2."""
    with pytest.raises(UsageError, match=r"^nowhere\.log: there is no such file$") as caught:
        CliRunner().invoke(watch, ["--once", "nowhere.log"], catch_exceptions=False)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("width", [40, 80, WIDTH, 200])
def test_no_line_is_wider_than_the_terminal(width):
    """On any terminal; at 80 columns no figure is cut."""
    known = Watched()
    for one in recorded():
        known.feed(one)
    text = io.StringIO()
    Console(file=text, width=width).print(view(summary(known), width))
    lines = text.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width
    if width >= 80:
        total = summary(known).total
        assert f"{total.events:,}" in text.getvalue()
        assert "\N{HORIZONTAL ELLIPSIS}" not in text.getvalue()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *((0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min"), (3_599.6, "1 h")),
        *((125, "2 min 5 s"), (3_720, "1 h 2 min"), (86_400, "1 d"), (90_061, "1 d 1 h"), (-3, "0.0 s")),
    ],
)
def test_durations_for_people(seconds, said):
    """Two units at most, and no 60 s."""
    assert duration(seconds) == said


class Terminal:
    """The command on a terminal of its own; what it shows is read as it comes."""

    def __init__(self, *arguments):
        self._end, other = pty.openpty()
        termios.tcsetwinsize(other, (60, 120))
        command = [sys.executable, "-m", "processor", "watch", *map(str, arguments)]
        self.process = subprocess.Popen(command, cwd=PROJECT, stdin=other, stdout=other, stderr=other)
        os.close(other)
        self.text = ""

    def until(self, pattern):
        """Read on until a pattern was shown after the last one; forget what was before."""
        until_s = time.monotonic() + 30
        while (found := re.search(pattern, self.text)) is None:
            ready, _, _ = select.select([self._end], [], [], max(0.0, until_s - time.monotonic()))
            assert ready, f"{pattern} was not shown: {self.text[-3_000:]}"
            try:
                read = os.read(self._end, 65_536)
            except OSError:  # nobody is left at the other end
                pytest.fail(f"{pattern} was not shown before the end: {self.text[-3_000:]}")
            self.text += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", read.decode(errors="replace"))
        self.text = self.text[found.end() :]

    def end(self):
        """End it, whatever happened."""
        self.process.kill()
        self.process.wait()
        os.close(self._end)


def test_the_live_view_follows_a_file_and_ends_quietly(log):
    """What is appended is shown, also after a rotation; Ctrl-C ends it with 0, and leaves the last picture."""
    terminal = Terminal(log)
    try:
        terminal.until(r"total +\S+ +\S+ +\S+ +550 ")
        with log.open("ab") as file:
            file.write(batch(30) + b"\n")
        terminal.until(r"total +\S+ +\S+ +\S+ +600 ")
        log.rename(log.with_suffix(".1"))
        log.write_bytes(batch(31) + b"\n")
        terminal.until(r"total +\S+ +\S+ +\S+ +650 ")
        terminal.process.send_signal(signal.SIGINT)
        terminal.until(r"Now\r\n(.|\n)* silent (.|\n)*total +\S+ +\S+ +\S+ +650 (.|\n)*batches: 13")
        assert terminal.process.wait(10) == 0
        assert "Traceback" not in terminal.text
    finally:
        terminal.end()
