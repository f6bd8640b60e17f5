"""The librdkafka properties that the setting `kafka` takes. Everything else is refused, by name and with the reason."""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Final

# what for -> the properties. None of them can change what is read, written or committed.
ALLOWED_FOR: Final[Mapping[str, tuple[str, ...]]] = {
    "security": (
        *("security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password"),
        *("sasl.kerberos.service.name", "sasl.kerberos.principal", "sasl.kerberos.kinit.cmd", "sasl.kerberos.keytab"),
        "sasl.kerberos.min.time.before.relogin",
        *("sasl.oauthbearer.method", "sasl.oauthbearer.config", "sasl.oauthbearer.client.id"),
        *("sasl.oauthbearer.client.secret", "sasl.oauthbearer.client.credentials.client.id"),
        *("sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.scope"),
        *("sasl.oauthbearer.extensions", "sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.sub.claim.name"),
        *("sasl.oauthbearer.grant.type", "sasl.oauthbearer.assertion.algorithm"),
        *("sasl.oauthbearer.assertion.private.key.file", "sasl.oauthbearer.assertion.private.key.passphrase"),
        *("sasl.oauthbearer.assertion.private.key.pem", "sasl.oauthbearer.assertion.file"),
        *("sasl.oauthbearer.assertion.claim.aud", "sasl.oauthbearer.assertion.claim.exp.seconds"),
        *("sasl.oauthbearer.assertion.claim.iss", "sasl.oauthbearer.assertion.claim.jti.include"),
        *("sasl.oauthbearer.assertion.claim.nbf.seconds", "sasl.oauthbearer.assertion.claim.sub"),
        *("sasl.oauthbearer.assertion.jwt.template.file", "sasl.oauthbearer.metadata.authentication.type"),
        *("enable.sasl.oauthbearer.unsecure.jwt", "enable.ssl.certificate.verification"),
        *("ssl.endpoint.identification.algorithm", "ssl.cipher.suites", "ssl.curves.list", "ssl.sigalgs.list"),
        *("ssl.key.location", "ssl.key.password", "ssl.key.pem", "ssl.certificate.location", "ssl.certificate.pem"),
        *("ssl.ca.location", "ssl.ca.pem", "ssl.ca.certificate.stores", "ssl.crl.location", "ssl.keystore.location"),
        *("ssl.keystore.password", "ssl.providers", "ssl.engine.location", "ssl.engine.id"),
        *("https.ca.location", "https.ca.pem"),
    ),
    "connections": (
        *("socket.timeout.ms", "socket.send.buffer.bytes", "socket.receive.buffer.bytes", "socket.keepalive.enable"),
        *("socket.nagle.disable", "socket.max.fails", "socket.connection.setup.timeout.ms"),
        *("broker.address.ttl", "broker.address.family", "client.dns.lookup", "client.rack"),
        *("connections.max.idle.ms", "reconnect.backoff.ms", "reconnect.backoff.max.ms"),
        *("retry.backoff.ms", "retry.backoff.max.ms"),
    ),
    "how often the client looks for brokers and leaders": (
        *("topic.metadata.refresh.interval.ms", "topic.metadata.refresh.fast.interval.ms", "metadata.max.age.ms"),
        *("metadata.recovery.strategy", "metadata.recovery.rebootstrap.trigger.ms"),
    ),
    "how soon a crash is noticed": (
        *("session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms", "transaction.timeout.ms"),
    ),
    "sizes of fetches and queues": (
        *("fetch.min.bytes", "fetch.max.bytes", "fetch.message.max.bytes", "max.partition.fetch.bytes"),
        *("fetch.wait.max.ms", "fetch.queue.backoff.ms", "fetch.error.backoff.ms", "receive.message.max.bytes"),
        *("queued.min.messages", "queued.max.messages.kbytes"),
        *("queue.buffering.max.messages", "queue.buffering.max.kbytes", "queue.buffering.max.ms", "linger.ms"),
        "batch.num.messages",
    ),
    "compression, checksums": ("compression.type", "compression.codec", "compression.level", "check.crcs"),
    "diagnosis": ("debug", "log_level", "log.connection.close", "log.thread.name", "enable.metrics.push"),
}
ALLOWED_KAFKA_PROPERTIES: Final = frozenset(name for names in ALLOWED_FOR.values() for name in names)

# why not -> the properties that somebody may want to set.
RESERVED_BECAUSE: Final[Mapping[str, tuple[str, ...]]] = {
    "it makes the program read committed records only, and the client wait for stable offsets": ("isolation.level",),
    "a lost offset must stop the program, never skip events; the program needs each partition's end reported": (
        *("auto.offset.reset", "enable.partition.eof"),
    ),
    "only the transaction commits offsets": ("enable.auto.commit", "enable.auto.offset.store"),
    "the delivery reports say where the facts end": ("delivery.report.only.error", "produce.offset.report"),
    "a transaction needs its own value": (
        *("acks", "request.required.acks", "enable.idempotence", "enable.gapless.guarantee"),
        *("max.in.flight", "max.in.flight.requests.per.connection"),
        *("retries", "message.send.max.retries", "message.timeout.ms", "delivery.timeout.ms", "request.timeout.ms"),
    ),
    "it identifies this member of the group or decides how it gets partitions": (
        *("transactional.id", "group.id", "group.instance.id", "group.protocol", "group.remote.assignor"),
        "partition.assignment.strategy",
    ),
    "all events of an order must reach one partition, whoever sends them": ("partitioner",),
    "the client checks it before compression: one record could stop a partition for ever; the topic's limit decides": (
        "message.max.bytes",
    ),
    "the limits of the output topics decide": ("batch.size",),
    "the program's topics must be seen": ("topic.blacklist",),
    "a topic needs settings that `topics create` gives it": ("allow.auto.create.topics",),
    "it loads code that can change every request": ("plugin.library.paths",),
    "another setting sets it": ("bootstrap.servers", "metadata.broker.list", "client.id"),
}
# property -> the values with which the client gets tokens by itself.
_OWN_TOKENS: Final[Mapping[str, frozenset[str]]] = {
    "sasl.oauthbearer.method": frozenset({"oidc"}),
    "enable.sasl.oauthbearer.unsecure.jwt": frozenset({"true", "1", "t"}),
}
_FUNCTION: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_WHY_RESERVED: Final = {name: why for why, names in RESERVED_BECAUSE.items() for name in names}


def property_problem(name: str) -> str | None:
    """Return why a property may not be set, if so."""
    if name in ALLOWED_KAFKA_PROPERTIES:
        return None
    if why := _WHY_RESERVED.get(name):
        return f"{name} is reserved: {why}; remove it"
    close = difflib.get_close_matches(name, ALLOWED_KAFKA_PROPERTIES, n=1, cutoff=0.8)
    hint = f"did you mean {close[0]}?" if close else 'remove it (deploy/README.md, "Kafka properties", has the list)'
    return f"{name} is not among the properties that are known to leave the guarantee alone; {hint}"


def token_problems(kafka_token: str | None, kafka: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the settings that say where tokens come from: the setting, and what to put there."""
    asked = {"sasl.mechanism", "sasl.mechanisms"} & kafka.keys()
    wants_tokens = any(kafka[name] == "OAUTHBEARER" for name in asked)
    own = [name for name in _OWN_TOKENS if str(kafka.get(name, "")).lower() in _OWN_TOKENS[name]]
    if kafka_token is None:
        if wants_tokens and not own:
            yield "kafka", f"{asked.pop()}=OAUTHBEARER needs the setting kafka_token, or sasl.oauthbearer.method=oidc"
        return
    if not _FUNCTION.fullmatch(kafka_token):
        yield "kafka_token", f"it is {kafka_token!r}; put module:function there, such as order_tokens:msk"
    if not wants_tokens or not str(kafka.get("security.protocol", "")).lower().startswith("sasl_"):
        missing = "sasl.mechanisms=OAUTHBEARER and security.protocol=SASL_SSL"
        yield "kafka_token", f"the setting kafka does not ask for tokens; put {missing} there, or remove this one"
    if own:
        yield "kafka_token", f"{own[0]}={kafka[own[0]]} in the setting kafka gives tokens too; remove one of the two"
