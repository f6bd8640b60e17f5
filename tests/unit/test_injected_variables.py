"""Proves that the variables a container platform injects for a Service or link stop nothing, and a typo still does."""

import pytest

from processor.errors import UsageError
from processor.settings import Settings
from processor.settings.sources import load

# By Kubernetes for Services named order-facts, order-facts-http and order-facts-any; by Docker for links.
INJECTED = {
    "ORDER_FACTS_SERVICE_HOST": "10.0.0.1",
    "ORDER_FACTS_SERVICE_PORT": "80",
    "ORDER_FACTS_SERVICE_PORT_HTTP": "80",
    "ORDER_FACTS_SERVICE_PORT_METRICS_V2": "9090",
    "ORDER_FACTS_PORT": "tcp://10.0.0.1:80",
    "ORDER_FACTS_PORT_80_TCP": "tcp://10.0.0.1:80",
    "ORDER_FACTS_PORT_80_TCP_PROTO": "tcp",
    "ORDER_FACTS_PORT_80_TCP_PORT": "80",
    "ORDER_FACTS_PORT_80_TCP_ADDR": "10.0.0.1",
    "ORDER_FACTS_PORT_53_UDP_ADDR": "10.0.0.1",
    "ORDER_FACTS_HTTP_SERVICE_HOST": "fd00::1",
    "ORDER_FACTS_HTTP_PORT": "tcp://[fd00::1]:80",
    "ORDER_FACTS_HTTP_PORT_80_TCP": "tcp://[fd00::1]:80",
    "ORDER_FACTS_HTTP_PORT_8080_TCP_ADDR": "10.0.0.1",
    "ORDER_FACTS_HTTP_PORT_8080_TCP_PORT": "8080",
    "ORDER_FACTS_HTTP_PORT_8080_TCP_PROTO": "tcp",
    "ORDER_FACTS_HTTP_SERVICE_PORT": "8080",
    "ORDER_FACTS_HTTP_SERVICE_PORT_FILE": "8080",
    "ORDER_FACTS_ANY_NAME_AT_ALL_SERVICE_HOST": "10.0.0.1",
    "ORDER_FACTS_ANY_NAME_AT_ALL_SERVICE_PORT_GRPC": "81",
    "ORDER_FACTS_REDIS_NAME": "/order-facts-run-1/order-facts-redis",
    "ORDER_FACTS_REDIS_ENV_REDIS_VERSION": "7.4",
    "ORDER_FACTS_REDIS_PORT": "tcp://172.17.0.2:6379",
}


def test_injected_variables_are_no_settings():
    """All forms at once, whatever the Service is called, beside a setting that is one."""
    assert load({}, None, INJECTED | {"ORDER_FACTS_MAX_BATCH": "7"}) == Settings(max_batch=7)


@pytest.mark.parametrize(
    ("variable", "value", "nearest"),
    [
        ("ORDER_FACTS_HTTP_PORTS", "80", "http_port"),
        ("ORDER_FACTS_PORT", "80", None),
        ("ORDER_FACTS_HTTP_PROT", "tcp://10.0.0.1:80", "http_port"),
        ("ORDER_FACTS_INSTANCE_NAME", "replica-1", "instance_id"),
        ("ORDER_FACTS_SERVICEHOST", "10.0.0.1", None),
    ],
)
def test_a_typo_is_still_an_error(variable, value, nearest):
    """What has not the form of an injected variable is refused, with the nearest setting."""
    with pytest.raises(UsageError) as refused:
        load({}, None, {variable: value})
    assert str(refused.value).startswith(f"unknown setting {variable}")
    assert nearest is None or str(refused.value).endswith(f"did you mean {nearest}?")


@pytest.mark.parametrize("setting", Settings.__struct_fields__)
def test_a_service_may_be_called_as_any_setting(setting):
    """A Service or link whose name is a setting's, and so are all variables that it injects: none changes a setting."""
    name = f"ORDER_FACTS_{setting.upper()}"
    injected = {
        f"{name}_SERVICE_HOST": "10.0.0.1",
        f"{name}_SERVICE_PORT": "8080",
        f"{name}_PORT": "tcp://10.0.0.1:8080",
        f"{name}_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        f"{name}_PORT_8080_TCP_ADDR": "10.0.0.1",
        f"{name}_NAME": f"/order-facts-1/{setting.replace('_', '-')}",
        f"{name}_ENV_PATH": "/usr/bin",
    }
    assert load({}, None, injected) == Settings()


def test_http_port_is_still_one():
    """The name that a Service can take away is a setting whenever its value is no address."""
    assert load({}, None, {"ORDER_FACTS_HTTP_PORT": "8080"}).http_port == 8080
    with pytest.raises(UsageError, match="setting http_port"):
        load({}, None, {"ORDER_FACTS_HTTP_PORT": "http"})


@pytest.mark.parametrize("name", ["a\n", "a b", "a/b", "", "réplica-1", "a\x00"])
def test_instance_ids_that_are_none(name):
    """A line break at the end counts too; what Kafka's client and Redis refuse later is refused at once."""
    with pytest.raises(UsageError, match="setting instance_id"):
        load({"instance_id": name}, None, {})


def test_a_group_id_is_ascii():
    """Its metadata, too, is refused by Kafka's client at the first commit."""
    with pytest.raises(UsageError, match="setting group_id: it is 'größe'; use ASCII letters, digits and signs"):
        load({"group_id": "größe"}, None, {})
