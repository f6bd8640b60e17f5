"""What can go wrong outside the domain. The class of an error is the action it asks for.

`replica.service` sends RetryError and ProducerLostError to its one recovery path. The command line maps every class
to an exit code. An error's text is one line that says what to do.
"""


class OrderFactsError(Exception):
    """Base of all errors of this program. `exit_code` is the command's exit code if the error ends it.

    `lasting` is the cause of a failure that is not known to pass by itself: it is retried a few times and then stops.
    """

    exit_code = 1

    def __init__(self, text: str, *, lasting: str | None = None) -> None:
        super().__init__(text)
        self.lasting = lasting


class RetryError(OrderFactsError):
    """Abort, rewind, stay in the group, wait, start over."""

    waiting_for = "kafka"


class RedisError(RetryError):
    """As RetryError: Redis did not answer in time."""

    waiting_for = "redis"


class RegistryError(RetryError):
    """As RetryError: the schema registry did not answer in time, or not as a registry does."""

    waiting_for = "schema_registry"


class AwaitedSchemaError(RegistryError):
    """As RegistryError: the registry is asked for a writer's schema; `prefix` names it (see `registry.framing`)."""

    def __init__(self, text: str, prefix: bytes) -> None:
        super().__init__(text)
        self.prefix = prefix


class MirrorMovedError(RetryError):
    """As RetryError: a partition's mirror is not as this replica left it; the partition is placed again."""

    waiting_for = "mirror"


class UnreadableError(RetryError):
    """The Kafka client cannot read a partition on from an offset: only that partition waits, and is read again later.

    The bytes may be damaged, or expand beyond the client's limit; or the broker cannot read them from its disk now.
    """

    def __init__(self, topic: str, partition: int, offset: int, problem: str) -> None:
        self.topic, self.partition, self.offset, self.problem = topic, partition, offset, problem
        super().__init__(f"{topic}[{partition}]: cannot read offset {offset}: {problem}")


class FactsMovedError(RetryError):
    """As RetryError: another writer's facts may be between ours; the last facts are read before the next start."""


class ProducerLostError(OrderFactsError):
    """The producer is fenced, or its commit's outcome is unknown. A new one settles it; then as RetryError."""

    waiting_for = "kafka"


class StopError(OrderFactsError):
    """A retry cannot help: stop with this line, exit code 1."""


class RegistryRefusesError(StopError):
    """The schema registry refuses the credentials (401) or the right (403)."""


class SchemaRefusedError(OrderFactsError):
    """The schema registry does not take a schema, or a level of compatibility: the line has its reason."""


class UsageError(OrderFactsError):
    """Wrong usage or configuration: the line names the setting and says what to put there. Exit code 2."""

    exit_code = 2


class UnreachableError(OrderFactsError):
    """A service could not be reached in time. Exit code 3."""

    exit_code = 3
