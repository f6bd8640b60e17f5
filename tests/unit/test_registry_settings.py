"""The settings of the schema registry: addresses without credentials, and the client's properties by an allow-list."""

import json

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient

from processor.settings import REGISTRY_ALLOWED_FOR, SECRETS, load
from tests.unit.test_settings import SECRET, environment, refused

URL = "http://registry:8081"
ALLOWED = {name for names in REGISTRY_ALLOWED_FOR.values() for name in names}


def refused_properties(**given):
    """Load properties that have to be refused; give the line that says why."""
    properties = {name.replace("_", "."): value for name, value in given.items()}
    line = refused({"schema_registry_url": URL, "schema_registry": json.dumps(properties)})
    assert line.startswith("setting schema_registry: ")
    return line


@pytest.mark.parametrize(
    "url", [URL, "https://registry.example", "https://a:8081/apis/ccompat/v7/, https://b:8081", "http://[::1]:8081"]
)
def test_an_address_or_several_are_taken(url):
    """With either wire format: a deployment that changes its form reads both."""
    assert load({"schema_registry_url": url}, None, {}).schema_registry_url == url


@pytest.mark.parametrize(
    "url",
    [
        *(f"http://user:{SECRET}@registry", f"{URL},https://{SECRET}@b", f"http://[{SECRET}", f"{SECRET}", ""),
        *(f"{URL},", f"{URL}?token={SECRET}", f"{URL}#{SECRET}", f"ftp://{SECRET}", f"http://a/{SECRET}\r\nX: 1"),
        *("http://:8081", "http://a:99999", "http://a:0", "http://a b", "http://\u0430"),
    ],
)
def test_what_is_no_address_or_holds_credentials_is_refused(url):
    """The line never repeats the address: what is wrong with it may be its credentials."""
    line = refused({"schema_registry_url": url})
    assert line.startswith("setting schema_registry_url: ")
    assert ("basic.auth.user.info" in line) == ("@" in url)


def test_the_table_is_read_from_every_source(tmp_path):
    """As `kafka`: JSON in the environment, whole from a file, and a table in the configuration file."""
    table = {"basic.auth.user.info": f"key:{SECRET}", "timeout": 5}
    secret, config = tmp_path / "registry.json", tmp_path / "order-facts.toml"
    secret.write_text(json.dumps(table))
    config.write_text(
        f'schema_registry_url = "{URL}"\n[schema_registry]\n"basic.auth.user.info" = "key:{SECRET}"\ntimeout = 5\n'
    )
    variables = environment(schema_registry_url=URL)
    for given in (
        load({}, config, {}),
        load({}, None, variables | environment(schema_registry=json.dumps(table))),
        load({}, None, variables | environment(schema_registry_file=str(secret))),
    ):
        assert given.schema_registry == table
    assert {"schema_registry", "schema_registry_url"} <= SECRETS


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"basic_auth_userinfo": SECRET}, "did you mean basic.auth.user.info?"),
        ({"url": SECRET}, "url is not known; known are basic.auth.user.info, "),
        ({"basic_auth_user_info": SECRET}, "put user:password there"),
        ({"bearer_auth_token": f"{SECRET}\r\nX: 1"}, "put a text of one line there"),
        ({"bearer_auth_token": f"{SECRET}\u00e9"}, "put ASCII characters there"),
        ({"bearer_auth_token": 5}, "put a text of one line there"),
        ({"bearer_auth_token": ""}, "put a text of one line there"),
        ({"bearer_auth_logical_cluster": "x"}, "needs bearer.auth.token"),
        ({"bearer_auth_token": SECRET, "basic_auth_user_info": f"a:{SECRET}"}, "contradict; remove one"),
        ({"bearer_auth_token": SECRET, "bearer_auth_credentials_source": "CUSTOM"}, "only STATIC_TOKEN"),
        ({"ssl_key_location": "key.pem"}, "need ssl.certificate.location"),
        ({"ssl_key_password": SECRET}, "need ssl.certificate.location"),
        *(({"timeout": value}, "put a number of seconds up to 60 there") for value in (0, -1, 61, "5")),
    ],
)
def test_a_wrong_property_is_refused_by_its_name(given, says):
    """Each refusal says what to put there, and repeats no value."""
    assert says in refused_properties(**given)


def test_properties_without_an_address_are_refused():
    """They would do nothing."""
    line = refused({"schema_registry": json.dumps({"timeout": 5})})
    assert line.startswith("setting schema_registry_url: ")


def test_allowed_properties_are_confluents():
    """What is taken has the name and the meaning of Confluent's client: it takes the same table."""
    texts = dict.fromkeys(("bearer.auth.logical.cluster", "bearer.auth.identity.pool.id"), "x")
    token = {"bearer.auth.token": SECRET, "bearer.auth.credentials.source": "STATIC_TOKEN", "timeout": 5} | texts
    for table in (token, {"basic.auth.user.info": f"a:{SECRET}"}):
        assert table.keys() <= ALLOWED
        SchemaRegistryClient({"url": URL} | table).close()
        assert (
            load({"schema_registry_url": URL, "schema_registry": json.dumps(table)}, None, {}).schema_registry == table
        )
