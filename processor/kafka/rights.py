"""What the present user may do on Kafka: which access rights are missing, and whether there are transactions.

Nothing is written, and nobody is disturbed: the brokers are asked what they grant, and one transaction begins and is
aborted under a transactional id that no replica can have.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation
from msgspec.structs import replace

from processor.errors import OrderFactsError, StopError
from processor.kafka.clients import REQUEST_TIMEOUT_S, reader, transactional_producer
from processor.kafka.cluster import Cluster, answer_of
from processor.kafka.failures import FENCED, PASSING, classify, classify_consumer, text_of
from processor.kafka.transactions import TRANSACTION_TIMEOUT_S, Transactions
from processor.logs import kafka_client_messages
from processor.settings import Settings

OPERATIONS: Final[Mapping[str, AclOperation]] = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}
_NOT_GRANTED: Final = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})
_UNSUPPORTED: Final = frozenset({KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE})  # noqa: SLF001
_LIMITED: Final = f"raise transaction.max.timeout.ms on the brokers to {round(TRANSACTION_TIMEOUT_S * 1000)} or more"
_REASON: Final = re.compile(r"(Failed to find transaction coordinator|Failed to acquire .*PID).{0,300}")
_LOOK_S: Final = 0.5
_NO_NAME: Final = "check/"  # an instance id has no slash: the transactional id that this makes is no replica's
TRANSACTIONAL_IDS: Final = "transactional ids with prefix"


class Right(NamedTuple):
    """An operation that is granted on a topic, a group, or all transactional ids with a prefix."""

    kind: str
    name: str
    operation: str

    def __str__(self) -> str:
        return f"{self.operation} on the {self.kind} {self.name}"


def needed(settings: Settings) -> dict[str, tuple[Right, ...]]:
    """Return what `run` needs, and what other commands need that a same user may run, by command."""
    events, contacts = ("topic", settings.events_topic), ("topic", settings.contacts_topic)
    facts, rejected, healed = (("topic", name) for name in _written_topics(settings))
    group, looked_up = ("group", settings.group_id), ("group", f"{settings.group_id}-reader")
    run = (
        *_rights(events, "Read", "DescribeConfigs"),
        *_rights(contacts, "Describe", "DescribeConfigs"),
        *_rights(facts, "Read", "Write", "DescribeConfigs"),
        *_rights(rejected, "Read", "Write", "DescribeConfigs"),
        *_rights(group, "Read"),
        *_rights(looked_up, "Describe"),
        *_rights((TRANSACTIONAL_IDS, f"{settings.group_id}/"), "Write"),
    )
    follow = (
        *_rights(events, "Write"),
        *_rights(healed, "Read", "Write", "DescribeConfigs"),
        *_rights(("group", f"{settings.group_id}-replay"), "Read"),
        *_rights(("group", f"{settings.group_id}-healer"), "Read"),
    )
    index = (*_rights(contacts, "Read", "DescribeConfigs"), *_rights(looked_up, "Describe"))
    members = ("topic", settings.segment_members_topic)
    publish = (*_rights(members, "Read", "Write", "DescribeConfigs"), *_rights(looked_up, "Describe"))
    return {
        "run": run,
        "contacts index": index,
        "rejected replay --follow": (*run, *follow),
        "segments publish": publish,
    }


def _written_topics(settings: Settings) -> tuple[str, ...]:
    return settings.facts_topic, settings.rejected_topic, settings.healed_topic


def _rights(resource: tuple[str, str], *operations: str) -> Iterator[Right]:
    return (Right(*resource, operation) for operation in operations)


class Granted:
    """What the brokers grant the present user."""

    def __init__(self, settings: Settings, cluster: Cluster, rights: Iterable[Right]) -> None:
        """Ask for what these rights are about. Raises RetryError or StopError if the brokers do not answer."""
        self._cluster = cluster
        asked = list(dict.fromkeys((right.kind, right.name) for right in rights))
        self._found: dict[tuple[str, str], set[AclOperation] | None] = {}
        self._ask_topics([name for kind, name in asked if kind == "topic"])
        _await_coordinator(settings)
        self._ask_groups([name for kind, name in asked if kind == "group"])

    def missing(self, rights: Iterable[Right]) -> list[Right]:
        """Return those of some rights that are not granted, as far as the brokers say."""
        asked = ((right, self._found.get((right.kind, right.name))) for right in rights)
        return [right for right, granted in asked if granted is not None and OPERATIONS[right.operation] not in granted]

    @property
    def unknown(self) -> list[str]:
        """The existing topics and groups of which the brokers do not say what the user may do."""
        return [f"the {kind} {name}" for (kind, name), granted in self._found.items() if granted is None]

    def _ask_topics(self, names: list[str]) -> None:
        wanted = TopicCollection(names)
        with self._cluster.asking("asking for the access rights on topics"):
            options = {"include_authorized_operations": True, "request_timeout": REQUEST_TIMEOUT_S}
            for name, future in self._cluster.admin.describe_topics(wanted, **options).items():
                with suppress(_UnknownTopicError):
                    granted = _granted(future)
                    if granted == set() and self._shows_settings(name):  # what is granted without Describe
                        granted = {AclOperation.DESCRIBE_CONFIGS}
                    self._found["topic", name] = granted

    def _ask_groups(self, names: list[str]) -> None:
        with self._cluster.asking("asking for the access rights on groups"):
            options = {"include_authorized_operations": True, "request_timeout": REQUEST_TIMEOUT_S}
            for name, future in self._cluster.admin.describe_consumer_groups(names, **options).items():
                self._found["group", name] = _granted(future)

    def _shows_settings(self, name: str) -> bool:
        try:
            self._cluster.topic_settings(name)
        except StopError:
            return False
        return True


def _await_coordinator(settings: Settings) -> None:
    """Wait until the group's coordinator answers: before that, describing a group can crash the process.

    A refusal is an answer; the client reports one to `poll` only, and lets the request time out.
    """
    own, doing = {"group.id": settings.group_id}, f"asking for the group {settings.group_id}"
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    with reader(settings, **own) as consumer:
        while True:
            try:
                consumer.committed([TopicPartition(settings.events_topic, 0)], timeout=_LOOK_S)
            except KafkaException as error:
                reported = consumer.poll(0)
                codes = {failed.code() for failed in (error.args[0], reported and reported.error()) if failed}
                if codes & _NOT_GRANTED:
                    return
                if time.monotonic() >= deadline:
                    raise classify_consumer(error.args[0], doing) from error
            else:
                return


class _UnknownTopicError(Exception):
    """A topic does not exist."""


def _granted(future: Any) -> set[AclOperation] | None:
    """Return the operations that a description says are granted, None if it does not say."""
    try:
        operations = answer_of(future, REQUEST_TIMEOUT_S).authorized_operations
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise _UnknownTopicError from error
        if error.args[0].code() in _UNSUPPORTED:
            return None
        if error.args[0].code() not in _NOT_GRANTED:
            raise
        return set()
    return {*operations} if operations else None


def try_transaction(settings: Settings) -> Right | str | None:
    """Begin and abort a transaction. Return the missing right, or what else is wrong; None if transactions work."""
    failed: list[KafkaError] = []
    made: list[Producer] = []

    def noted(error: KafkaError, doing: str) -> OrderFactsError:
        failed.append(error)
        return classify(error, doing)

    def make() -> Producer:
        made.append(transactional_producer(nobody, 1 << 20))
        return made[-1]

    nobody = replace(settings, instance_id=_NO_NAME, kafka={**settings.kafka, "debug": "eos"})
    transactions, doing = Transactions(make, noted), "trying a transaction"
    with kafka_client_messages() as messages:
        try:
            transactions.ready(doing)
            with transactions.writing(doing):
                pass
            transactions.abort(doing)
        except OrderFactsError as error:
            for producer in made:
                with suppress(KafkaException):  # the failure itself, if it is fatal
                    producer.poll(0)  # hands over what the client logged
            cause = failed[-1] if failed else None
            reasons = [found[0] for message in messages if (found := _REASON.search(message))]
            said = str(error) if cause is None else text_of(cause)
            return _judged(cause, reasons[-1] if reasons else said, settings)
        finally:
            transactions.forget()
    return None


def _judged(cause: KafkaError | None, said: str, settings: Settings) -> Right | str | None:
    """Return what a transaction's failure means; without a cause the client did not return."""
    code = None if cause is None else cause.code()
    if code in FENCED:  # another `check` runs: transactions work
        return None
    if code == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        return Right(TRANSACTIONAL_IDS, f"{settings.group_id}/", "Write")
    if code == KafkaError.INVALID_TRANSACTION_TIMEOUT:
        return f"the brokers allow none of {round(TRANSACTION_TIMEOUT_S):g} s ({said}): {_LIMITED}"
    if cause is None or code in PASSING or cause.retriable():
        return (
            f"none began within {TRANSACTION_TIMEOUT_S:g} s ({said}): the service has no transactions, which this "
            "program needs, or its brokers are too few for the topic __transaction_state, or just now away"
        )
    return f"none can begin ({said}): the service has no transactions, which this program needs"


def findings(settings: Settings, cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Yield what is found of access rights and transactions: ok, warning, note or problem, and a line.

    A note is of another command than `run`, which may have a user of its own. Raises RetryError or StopError if the
    brokers do not answer.
    """
    of_run, *others = needed(settings).items()
    granted = Granted(settings, cluster, (right for _, rights in (of_run, *others) for right in rights))
    missing = granted.missing(of_run[1])
    tried = try_transaction(settings)
    if isinstance(tried, Right):
        missing.append(tried)
    yield from (("problem", f"access rights: grant this user {right}, which `run` needs") for right in missing)
    if granted.unknown:
        yield (
            "warning",
            f"access rights: the brokers do not say what this user may do with {', '.join(granted.unknown)}",
        )
    elif not missing:
        yield "ok", "access rights: all that `run` needs"
    for command, rights in others:
        if lacking := [right for right in granted.missing(rights) if right not in missing]:
            yield "note", f"access rights: `{command}` by this user also needs {', '.join(map(str, lacking))}"
    if isinstance(tried, str):
        yield "problem", f"transactions: {tried}"
    elif tried is None:
        yield "ok", "transactions: one began and was aborted"
