"""`order-facts` where things happen that no test can have services do: `python -m tests.support.adverse`.

The environment variable TEST_ADVERSE names what happens, a function below. All else is real: the command's arguments,
its requests, and what the services answer. The product itself has no hooks.
"""

import itertools
import os
import signal
import threading

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
    Uuid,
)

from processor.cli import main
from processor.codec import healed
from processor.kafka import bounded, clients, cluster
from processor.kafka.cluster import Cluster
from processor.replica import ledger, recover
from processor.state import watermark
from tests.support.deployment import await_condition

MODULE = "tests.support.adverse"
REQUEST_S = 30.0


def adverse(what, **variables):
    """Give what a deployment needs to run a command in such a way; `variables` are what the function below reads."""
    return {"module": MODULE, "extra": {"TEST_ADVERSE": what.__name__, **variables}}


def around(owner, name, wrapper):
    """Have calls of a function go through a wrapper, which gets the function first."""
    original = getattr(owner, name)

    def wrapped(*arguments, **options):
        return wrapper(original, *arguments, **options)

    setattr(owner, name, wrapped)


def newer_version():
    """Be the program's next version, whose offsets and healed records have a format that this one does not know."""
    version = max(watermark._READABLE_VERSIONS) + 1
    vars(watermark).update(
        _METADATA_VERSIONS=dict.fromkeys(watermark._METADATA_VERSIONS, version),
        _READABLE_VERSIONS=watermark._READABLE_VERSIONS | {version},
    )
    vars(healed)["_VERSION"] = healed._VERSION + 1


def no_cluster_id():
    """Have the brokers say no cluster id."""

    def described(describe, *arguments):
        found = describe(*arguments)
        found.cluster_id = None
        return found

    around(Cluster, "_metadata", described)


def no_topic_ids():
    """Have the brokers give topics no ids, as before 2.8."""

    def described(describe, *arguments):
        found = describe(*arguments)
        for topic in found.values():
            topic.topic_id = Uuid(0, 0)
        return found

    around(Cluster, "_described", described)


def broker_freezes():
    """Freeze the broker with the process id TEST_BROKER once it has answered the start's first request."""
    vars(cluster)["REQUEST_TIMEOUT_S"] = 1.0  # of the questions that it never answers

    def answered(wait, *arguments):
        found = wait(*arguments)
        os.kill(int(os.environ["TEST_BROKER"]), signal.SIGSTOP)
        return found

    around(Cluster, "wait", answered)


def set_to_start(cluster, settings):
    """Set partition 0's offset to its start; tell whether that was done: a new client may drop its first broker."""
    group = ConsumerGroupTopicPartitions(settings.group_id, [TopicPartition(settings.events_topic, 0, 0)])
    (future,) = cluster.admin.alter_consumer_group_offsets([group]).values()
    try:
        assert future.result(REQUEST_S).topic_partitions[0].error is None
    except KafkaException as error:
        if error.args[0].code() != KafkaError._DESTROY_BROKER:
            raise
        return False
    return True


def another_tool_sets_an_offset():
    """Move partition 0 to its start between the request of `state recover` that sets offsets and the one that looks."""
    questions = itertools.count(1)

    def asked(ask, settings, *arguments, **options):
        if next(questions) == 2:  # the first is the plan's
            cluster = Cluster(settings)
            await_condition(lambda: set_to_start(cluster, settings), "the offset is set")
        return ask(settings, *arguments, **options)

    around(recover, "committed_entries", asked)


class Hanging(Producer):
    """A producer that hangs where the client does if the group's coordinator goes away during the call."""

    def send_offsets_to_transaction(self, *_arguments):
        """Never return."""
        threading.Event().wait()


def calls_hang():
    """Have every call hang that adds offsets to a transaction; wait less long for each than the program does."""
    vars(clients)["Producer"] = Hanging
    vars(ledger)["OFFSETS_TIMEOUT_S"] = (0.1, 0.1)
    vars(bounded)["GRACE_S"] = 0.1


if __name__ == "__main__":
    globals()[os.environ["TEST_ADVERSE"]]()
    main()
