"""Proves that every client comes by tokens, goes on when they expire, and waits where their function fails."""

import json

import pytest
from msgspec.structs import replace

from tests.conftest import own_settings
from tests.support.deployment import await_condition, deployed
from tests.support.guarded_kafka import OPERATOR, GuardedKafka
from tests.support.refusals import refusal
from tests.support.token_endpoint import token_endpoint
from tests.support.traffic import contacts, traffic

LIFE_S = 5.0  # a real token lives for minutes


@pytest.fixture(scope="module")
def kafka(services, tmp_path_factory):
    """Give a broker that asks for tokens; `services` has the Redis."""
    broker = GuardedKafka(tmp_path_factory.mktemp("guarded") / "kafka")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def deployment(services, kafka, tmp_path_factory):
    """Give a deployment with contacts and an index that comes by tokens; the test itself comes without one."""
    settings = replace(own_settings(services), bootstrap_servers=kafka.bootstrap_servers)
    with deployed(settings, folder := tmp_path_factory.mktemp("tokens")) as deployment:
        deployment.send_contacts(contacts())
        index = deployment.start("contacts", "index", name="index", **by_token(kafka, folder / "index"))
        index.await_line("contacts.ready")
        yield deployment
        assert index.lines("contacts.waiting") == refused_logins(index) == []
        index.stop()


def by_token(kafka, calls, **config):
    """Give the settings of a client with tokens of its own; `calls` is the file of the function's calls."""
    wanted = {"user": OPERATOR, "life_s": LIFE_S, "calls": str(calls), "broken": f"{calls}.broken", **config}
    return kafka.settings_by_token(json.dumps(wanted))


def refused_logins(process):
    """Give the lines that say that the broker refused a token, or a login with it."""
    return [line for line in process.lines("kafka.client") if "auth" in line["detail"].lower()]


def count(calls):
    """Give how often a function was called."""
    return len(calls.read_text(encoding="utf-8").splitlines())


def test_replica_and_commands_come_by_tokens_and_outlive_them(deployment, kafka, tmp_path):
    """For several lifetimes no client is refused or waits; one call gives the token of all clients of a process."""
    runs, given = tmp_path / "run", tmp_path / "commands"
    event = json.dumps({"eventTypeKey": "orderCreated", "keyValue": "", "params": []})
    deployment.command("events", "send", "-", stdin=event, **by_token(kafka, given, life_s=300))
    deployment.sent += 1
    replica = deployment.replica("a", **by_token(kafka, runs))
    deployment.send(traffic(seed=91, count=100))
    deployment.await_accounted()
    for number, command in enumerate(
        (("check",), ("rejected", "replay", "--dry-run"), ("facts", "show"), ("verify",)), start=2
    ):
        deployment.command(*command, **by_token(kafka, given, life_s=300))
        assert count(given) == number
    await_condition(lambda: count(runs) >= 5, "tokens are renewed")  # the third lives longer than the first did
    deployment.send(traffic(seed=92, count=100))
    deployment.await_accounted()
    deployment.require_right_outputs()
    assert replica.lines("service.waiting") == refused_logins(replica) == []
    replica.stop()


@pytest.mark.runbook("kafka.token_failed")
def test_a_replica_waits_while_the_function_fails(deployment, kafka, tmp_path):
    """Its clients are refused when the last token has expired; it says why, without the token, and goes on after."""
    replica = deployment.replica("a", **by_token(kafka, tmp_path / "run"))
    replica.await_line("partition.positioned")
    (broken := tmp_path / "run.broken").touch()
    first = replica.await_line("kafka.token_failed")[0]
    assert first["error"].startswith("setting kafka_token: tests.support.token_functions:made raised RuntimeError in ")
    assert 0 < first["left_s"] < LIFE_S
    deployment.send(traffic(seed=93, count=50))
    deployment.await_accounted()  # the present token still serves
    replica.await_line("service.waiting")
    deployment.send(traffic(seed=94, count=50))
    broken.unlink()
    deployment.await_accounted()
    replica.await_line("kafka.token_back")
    replica.stop()
    assert "eyJ" not in replica.log_path.read_text(encoding="utf-8")  # how a token begins
    deployment.require_right_outputs()


@pytest.mark.follows("no token")
def test_a_start_waits_for_a_first_token_and_says_why_there_is_none(deployment, kafka, tmp_path):
    """A function that raises may do so for a while only; with a token the same command runs."""
    given = by_token(kafka, calls := tmp_path / "create")
    (broken := tmp_path / "create.broken").touch()
    line = refusal(deployment.command("topics", "create", check=False, startup_timeout_s=1.5, **given), 3)
    assert line.startswith(
        "setting kafka_token: tests.support.token_functions:made raised RuntimeError in token_functi"
    )
    assert line.endswith("; no token within 1.5 s: see that the function works where this runs")
    assert count(calls) == 3
    broken.unlink()
    deployment.command("topics", "create", **given)


def test_a_token_that_the_broker_refuses_is_named(deployment, kafka, tmp_path):
    """It is no outage to wait for: the command ends at once."""
    given = by_token(kafka, tmp_path / "create", life_s=-1)
    refused = given | {"kafka_token": "tests.support.token_functions:overstated"}
    line = refusal(deployment.command("topics", "create", check=False, **refused), 1)
    assert line.startswith("Kafka at ")
    assert "invalid_token" in line
    assert line.endswith("check the setting kafka and the access rights on the brokers")


def by_provider(kafka, **properties):
    """Give the settings of a client that gets its tokens from a provider by itself."""
    login = {"sasl.mechanisms": "OAUTHBEARER", "sasl.oauthbearer.method": "oidc"}
    given = {f"sasl.oauthbearer.{name.replace('_', '.')}": value for name, value in properties.items()}
    return {
        "bootstrap_servers": kafka.guarded_servers,
        "kafka": {"security.protocol": "SASL_PLAINTEXT", **login, **given},
    }


def test_clients_come_by_tokens_that_they_get_by_themselves(deployment, kafka):
    """From an OpenID provider by id and secret, or from a cloud's metadata; one that is away is named."""
    with token_endpoint(life_s=60) as provider:
        credentials = {"client_id": "an id", "client_secret": "a secret", "scope": "kafka"}
        by_secret = by_provider(kafka, token_endpoint_url=f"{provider.address}/token", **credentials)
        deployment.command("topics", "create", **by_secret)
        assert {entry[:2] for entry in provider.asked} == {("POST", "/token")}
        provider.asked.clear()
        query = {"config": "query=resource=api://kafka", "metadata_authentication_type": "azure_imds"}
        by_machine = by_provider(kafka, token_endpoint_url=f"{provider.address}/machine", **query)
        deployment.command("topics", "create", **by_machine)
        assert {entry[:2] for entry in provider.asked} == {("GET", "/machine?resource=api://kafka")}
        provider.is_away = True
        line = refusal(deployment.command("topics", "create", check=False, startup_timeout_s=1.5, **by_secret), 3)
    assert line == (
        f"Kafka at {kafka.guarded_servers} did not answer within 1.5 s: Local: Broker transport failure, as with a "
        "provider of tokens that does not answer; check the setting kafka, and bootstrap_servers"
    )
