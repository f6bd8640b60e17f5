"""A command that is forked from a prepared process is a command like one that starts anew."""

import os
import signal

import pytest
from msgspec.structs import replace

from processor.settings import Settings
from tests.support import forking
from tests.support.commands import NOWHERE
from tests.support.deployment import PYTHON, Deployment, Process, await_condition
from tests.support.forking import ForkedProcess, Forks
from tests.tooling.test_services import eventually, left_by_a_killed, processes

SETTINGS = Settings(instance_id="test", bootstrap_servers=NOWHERE, identifier_key="a secret of the tests")
WAITING = (*PYTHON, "processor", "run", "--startup-timeout-s", "600", "--log-level", "debug")

# Starts two commands by forks, freezes one of them, says so, and waits for a signal.
TESTER = """
import pathlib, signal, sys
from tests.support.deployment import Deployment, Process
from tests.support.forking import Forks
from tests.tooling.test_forking import SETTINGS, WAITING
with Forks().switched_on():
    environment = Deployment(SETTINGS, None).environment()
    running, frozen = (Process(WAITING, environment, pathlib.Path(log)) for log in sys.argv[1:])
    frozen.signal(signal.SIGSTOP)
    print("started", flush=True)
    signal.pause()
"""


@pytest.fixture
def anew(monkeypatch):
    """Give the function that runs a command of a deployment without a fork."""

    def run(deployment, *arguments, **given):
        with monkeypatch.context() as patch:
            patch.setattr(forking, "current", None)
            return deployment.command(*arguments, check=False, **given)

    return run


@pytest.mark.parametrize(
    ("arguments", "given", "code"),
    [
        (["--version"], {}, 0),
        (["run", "--help"], {}, 0),
        (["nonsense"], {}, 2),
        (["run"], {"max_batch": 0}, 2),
        (["events", "explain", "-"], {"stdin": '{"eventTypeKey": "orderCreated", "params": []}\r\n'}, 1),
    ],
    ids=str,
)
def test_a_forked_command_ends_as_one_that_starts_anew(tmp_path, anew, arguments, given, code):
    """Exit code, output and messages are the same, down to how the program calls itself; only times differ."""
    deployment = Deployment(SETTINGS, tmp_path)
    forked, other = deployment.command(*arguments, check=False, **given), anew(deployment, *arguments, **given)
    assert forked.returncode == other.returncode == code
    assert forked.stdout == other.stdout
    assert _untimed(forked.stderr) == _untimed(other.stderr)


def test_a_forked_command_that_gives_up_on_a_service_has_its_exit_code(tmp_path):
    """It ends without Python's way of ending, and what it wrote is there."""
    done = Deployment(replace(SETTINGS, startup_timeout_s=0.2), tmp_path).command("run", check=False)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith(f"order-facts: Kafka at {NOWHERE} did not answer within 0.2 s")


def _untimed(text):
    return [line.partition('"level"')[2] or line for line in text.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_signals_reach_a_forked_command(tmp_path, number):
    """It can be frozen; what ended it is told, and that a signal which it takes ended it cleanly."""
    log = tmp_path / "log"
    process = Process(WAITING, Deployment(replace(SETTINGS, log_level="debug"), tmp_path).environment(), log)
    assert isinstance(process._guarded, ForkedProcess)
    await_condition(lambda: "kafka.client" in log.read_text(), "the command runs")
    process.signal(signal.SIGSTOP)
    assert process.exit_code() is None
    process.signal(signal.SIGCONT)
    process.signal(number)
    assert process.await_end() == process.exit_code() == (-number if number == signal.SIGKILL else 0)
    process.signal(number)
    process.end()


def test_no_forked_command_outlives_the_test_run(tmp_path):
    """Where a test run is killed, the prepared process ends, and so do its commands, also a frozen one."""
    children = left_by_a_killed(TESTER, tmp_path)
    assert len(children) == 5, "two commands, each with its guard, and the prepared process"
    eventually(lambda: not children & processes().keys(), "all ended")


def test_what_the_interpreter_reads_at_its_start_needs_a_start(monkeypatch):
    """Another PYTHON... variable or locale starts a command anew; outside a test run every command does."""
    monkeypatch.setattr(forking, "current", None)
    with Forks().switched_on():
        assert forking.forks_for(os.environ | {"ORDER_FACTS_MAX_BATCH": "1"})
        assert not forking.forks_for(os.environ | {"PYTHONHASHSEED": "0"})
        assert not forking.forks_for({**os.environ, "LC_ALL": "tr_TR.UTF-8"})
    assert not forking.forks_for(os.environ)
