"""Proves what operators are told of the contact index: health by what it waits for, metrics, and the end of both."""

import math
from contextlib import closing

import pytest
from msgspec.structs import replace

from deploy.local.servers import free_ports
from tests.support.deployment import await_condition, deployed
from tests.support.health_answers import ask
from tests.support.redis_client import raw_client
from tests.support.traffic import contacts


@pytest.fixture
def port():
    """Give a free port for health."""
    return free_ports(1)[0]


def samples(port):
    """Give the samples without labels that the index tells."""
    lines = (line.split() for line in ask(port, "/metrics")[1].splitlines() if line.startswith("order_facts_index"))
    return {line[0].removeprefix("order_facts_index_"): float(line[-1]) for line in lines}


def test_ready_once_complete_and_not_while_redis_is_away(settings, tmp_path, own_redis, port):
    """A pause of Redis takes readiness, and not life; what was read is counted; a stop ends all answers."""
    with deployed(replace(settings, redis_url=own_redis.url), tmp_path) as deployment:
        deployment.send_contacts(known := contacts())
        index = deployment.start("contacts", "index", name="index", http_port=port)
        await_condition(lambda: ask(port, "/readyz") == (200, "ok\n"), lambda: index.tail("not ready"))
        found = samples(port)
        assert (found["ready"], found["records_total"]) == (1, len(known))
        await_condition(lambda: samples(port)["lag_records"] == 0, lambda: samples(port))  # it is of the last look
        own_redis.pause()
        await_condition(lambda: "waiting for redis" in ask(port, "/readyz")[1], lambda: index.tail("no wait"))
        assert ask(port, "/readyz")[0] == 503
        assert ask(port, "/livez") == (200, "ok\n")
        found = samples(port)
        assert (found['blocked{waiting_for="redis"}'], math.isnan(found["lag_records"])) == (1, True)
        own_redis.resume()
        await_condition(lambda: ask(port, "/readyz")[0] == 200, lambda: index.tail("not ready again"))
        assert samples(port)['blocked{waiting_for="redis"}'] == 0
        with closing(raw_client(deployment.settings)) as client:
            client.flushall()
        index.await_line("contacts.build_started", 2)
        await_condition(lambda: ask(port, "/readyz")[0] == 200, lambda: index.tail("not ready after a rebuild"))
        index.stop()
        assert ask(port, "/livez") == (0, "")


def test_a_port_that_is_taken_is_named(single, port):
    """The line names the setting, before the running index is taken over."""
    index = single.start("contacts", "index", name="index", http_port=port)
    await_condition(lambda: ask(port, "/readyz")[0] == 200, lambda: index.tail("not ready"))
    done = single.command("contacts", "index", check=False, http_port=port)
    assert done.returncode == 2
    assert f"setting http_port: port {port} cannot be served" in done.stderr
    index.stop()
