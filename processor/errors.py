"""What can go wrong outside the domain. The class of an error is the action it asks for.

`service` maps the first three to its single recovery path; the command line maps every class to an exit
code. An error's text is one line that says what to do.
"""


class OrderFactsError(Exception):
    """Base of all errors of this program. `exit_code` is the command's exit code where it gets that far."""

    exit_code = 1


class RetryError(OrderFactsError):
    """Abort, rewind, stay in the group, wait, start over."""

    waiting_for = "kafka"


class RedisError(RetryError):
    """As RetryError: Redis did not answer, or not in time."""

    waiting_for = "redis"


class MirrorMovedError(RetryError):
    """As RetryError: the mirror of a partition is not where this member left it; positioning anew decides."""

    waiting_for = "mirror"


class ProducerLostError(OrderFactsError):
    """The producer is fenced, or the outcome of its commit is unknown: a new one settles it, then as RetryError."""

    waiting_for = "kafka"


class StopError(OrderFactsError):
    """Nothing that a retry could mend: stop with this line, exit code 1."""


class UsageError(OrderFactsError):
    """Wrong usage or configuration: which setting, and what to put there. Exit code 2."""

    exit_code = 2


class UnreachableError(OrderFactsError):
    """A service could not be reached in time. Exit code 3."""

    exit_code = 3
