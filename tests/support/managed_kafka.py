"""A broker as managed services have them: a second listener, by TLS, and a policy for new topics."""

import subprocess
from pathlib import Path

from deploy.local.programs import java
from deploy.local.servers import HOST, free_ports
from deploy.local.services import EmbeddedKafka
from tests.support.topic_policy import POLICY, write_policy

POLICY_JAR = "policy.jar"
PASSWORD = "secret of the tests"  # of the stores, which hold nothing else


class ManagedKafka(EmbeddedKafka):
    """The broker. By the first listener anybody may come as before."""

    class_path = f"{EmbeddedKafka.class_path}:{POLICY_JAR}"

    def __init__(self, folder, **overrides):
        own = {name.replace("_", "."): value for name, value in overrides.items()}
        super().__init__(folder, overrides={"create.topic.policy.class.name": POLICY, **own})
        (self._tls_port,) = free_ports(1)
        self._store = Path(folder).absolute() / "broker.p12"

    @property
    def tls_servers(self):
        """Host and port of the listener that speaks TLS."""
        return f"{HOST}:{self._tls_port}"

    def trusting(self, authority):
        """Give the settings of who comes by TLS and trusts a certificate."""
        kafka = {"security.protocol": "SSL", "ssl.ca.location": str(authority)}
        return {"bootstrap_servers": self.tls_servers, "kafka": kafka}

    @property
    def authority(self):
        """The file with the certificate that the broker shows, which it signed itself."""
        return self._store.with_suffix(".pem")

    def _prepare(self):
        write_policy(self.folder / POLICY_JAR)
        return super()._prepare()

    def _addresses(self):
        if not self._store.exists():
            self_signed(self._store)
        addresses = super()._addresses()
        for name in ("listeners", "advertised.listeners"):
            addresses[name] += f",TLS://{self.tls_servers}"
        addresses["listener.security.protocol.map"] += ",TLS:SSL"
        store = {"type": "PKCS12", "location": str(self._store), "password": PASSWORD}
        return addresses | {f"listener.name.tls.ssl.keystore.{name}": value for name, value in store.items()}


def self_signed(store):
    """Make a key and its certificate for this machine: in a store, and the certificate as PEM beside it."""
    access = ("-keystore", str(store), "-storepass", PASSWORD, "-alias", "broker")
    made = ("-genkeypair", "-keyalg", "EC", "-dname", "CN=broker", "-ext", f"san=ip:{HOST}", "-validity", "9")
    _keytool(*made, "-storetype", "PKCS12", *access)
    _keytool("-exportcert", "-rfc", "-file", str(store.with_suffix(".pem")), *access)
    return store.with_suffix(".pem")


def _keytool(*arguments):
    tool = Path(java()).with_name("keytool")
    done = subprocess.run((tool, *arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
