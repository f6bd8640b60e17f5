"""A broker that asks who comes, by password or by token, and grants only what was listed."""

import base64
import json

from deploy.local.servers import HOST, free_ports
from deploy.local.services import EmbeddedKafka

USERS = ("run", "contacts-index")
OPERATOR = "operator"  # may all, and comes by token
_SECURITY = "org.apache.kafka.common.security"


class GuardedKafka(EmbeddedKafka):
    """The broker. By its second listener users may do what they are granted; whoever comes by the first may all."""

    def __init__(self, folder):
        super().__init__(folder)
        (self._guarded_port,) = free_ports(1)

    def _addresses(self):
        addresses = super()._addresses()
        users = " ".join(f'user_{user}="secret of {user}"' for user in USERS)
        own = 'unsecuredLoginStringClaim_sub="broker"'  # the broker wants a token of its own, and never shows it
        modules = {
            "plain": f"{_SECURITY}.plain.PlainLoginModule required {users};",
            "oauthbearer": f"{_SECURITY}.oauthbearer.OAuthBearerLoginModule required {own};",
        }
        for name in ("listeners", "advertised.listeners"):
            addresses[name] += f",GUARDED://{self.guarded_servers}"
        addresses["listener.security.protocol.map"] += ",GUARDED:SASL_PLAINTEXT"
        return addresses | {
            "sasl.enabled.mechanisms": ",".join(modules).upper(),
            **{f"listener.name.guarded.{name}.sasl.jaas.config": module for name, module in modules.items()},
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:{OPERATOR}",
        }

    @property
    def guarded_servers(self):
        """Host and port of the listener that asks who comes."""
        return f"{HOST}:{self._guarded_port}"

    def settings_of(self, user):
        """Give the settings with which a user comes by password."""
        login = {"sasl.mechanism": "PLAIN", "sasl.username": user, "sasl.password": f"secret of {user}"}
        return {
            "bootstrap_servers": self.guarded_servers,
            "kafka": {"security.protocol": "SASL_PLAINTEXT", **login},
        }

    def settings_by_token(self, config, **properties):
        """Give the settings with which somebody comes by tokens, made from a configuration (see `token_functions`)."""
        login = {"sasl.mechanisms": "OAUTHBEARER", "sasl.oauthbearer.config": config, **properties}
        return {
            "bootstrap_servers": self.guarded_servers,
            "kafka": {"security.protocol": "SASL_PLAINTEXT", **login},
            "kafka_token": "tests.support.token_functions:made",
        }


def unsecured_token(user, issued_s, expires_s):
    """Give a token as Kafka's handler for tests takes it: unsigned, with the user and two times in seconds."""
    claims = {"sub": user, "iat": issued_s, "exp": expires_s}
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "none"}, claims))
    return ".".join(part.decode() for part in parts) + "."
