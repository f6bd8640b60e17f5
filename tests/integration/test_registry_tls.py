"""Proves the TLS of a schema registry's client: on a real registry, and on a scripted one that wants a certificate.

(The real one's build has fixed that it wants none.)
"""

import contextlib
import ssl

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

from deploy.local.embedded_registry import INTERFACE, EmbeddedRegistry
from deploy.local.servers import HOST, free_ports
from processor.errors import RegistryError, UsageError
from processor.registry.client import Registry
from processor.settings import Settings
from tests.support.deployment import await_condition
from tests.support.managed_kafka import PASSWORD, self_signed
from tests.support.scripted_registry import ScriptedRegistry, answer

WRONG = "not the password of the key"


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """Give a registry's https address, and the properties of a client that it lets in."""
    folder = tmp_path_factory.mktemp("secured")
    (port,) = free_ports(1)
    authority, certificate = self_signed(folder / "registry.p12"), self_signed(folder / "client.p12")
    key, _, _ = load_key_and_certificates((folder / "client.p12").read_bytes(), PASSWORD.encode())
    assert key is not None
    closed = serialization.BestAvailableEncryption(PASSWORD.encode())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, closed)
    (folder / "key.pem").write_bytes(pem)
    tls = {
        "ssl-port": str(port),
        "ssl.certificate.key-store-file": str(folder / "registry.p12"),
        "ssl.certificate.key-store-password": PASSWORD,
    }
    started = EmbeddedRegistry(
        folder / "registry", overrides={f"quarkus.http.{name}": value for name, value in tls.items()}
    )
    started.start()
    properties = {
        "ssl.ca.location": str(authority),
        "ssl.certificate.location": str(certificate),
        "ssl.key.location": str(folder / "key.pem"),
        "ssl.key.password": PASSWORD,
    }
    url = f"https://{HOST}:{port}{INTERFACE}"
    await_condition(lambda: is_answered(url, properties), "an answer over https")
    yield url, properties
    started.kill()


def versions(url, properties):
    """Ask as a client with these properties."""
    return Registry(Settings(schema_registry_url=url, schema_registry=properties)).versions("t-value")


def is_answered(url, properties):
    """Return whether the registry takes questions: it opens its port earlier."""
    with contextlib.suppress(RegistryError):
        return versions(url, properties) is not None
    return False


@pytest.mark.services
def test_a_registry_that_is_trusted_is_asked(secured):
    """A client with the right files knows whom it asks."""
    assert versions(*secured) == ()


@pytest.mark.services
def test_a_registry_that_is_not_trusted_is_not_asked(secured):
    """Without its authority, or with another, the request ends before the credentials are sent."""
    url, properties = secured
    other = properties | {"ssl.ca.location": properties["ssl.certificate.location"]}
    for wrong in (other, {name: value for name, value in properties.items() if name != "ssl.ca.location"}):
        with pytest.raises(RegistryError, match="certificate verify failed"):
            versions(url, wrong)


@pytest.mark.services
def test_a_client_shows_its_certificate(secured):
    """A registry that wants one lets in who shows it, and nobody else; the line has the address."""
    _, properties = secured
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(properties["ssl.certificate.location"], properties["ssl.key.location"], PASSWORD)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(properties["ssl.certificate.location"])
    trusting = {"ssl.ca.location": properties["ssl.certificate.location"]}
    missing = answer(404, {"error_code": 40401, "message": "no subject"})
    with contextlib.closing(ScriptedRegistry(missing, tls=server)) as scripted:
        with pytest.raises(RegistryError, match=f"{scripted.url} does not answer"):
            versions(scripted.url, trusting)
        assert scripted.requests == []
        assert versions(scripted.url, properties | trusting) == ()


@pytest.mark.services
@pytest.mark.parametrize("password", [None, WRONG])
def test_a_key_that_cannot_be_opened_is_a_wrong_setting(secured, password):
    """At the start, without a question on the terminal, and without the password in the line."""
    url, properties = secured
    given = properties | {"ssl.key.password": password}
    with pytest.raises(UsageError, match=r"^setting schema_registry: ssl.certificate.location: ") as error:
        versions(url, {name: value for name, value in given.items() if value is not None})
    assert WRONG not in str(error.value)
    assert PASSWORD not in str(error.value)
