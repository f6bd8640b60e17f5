"""What a group committed."""

from contextlib import closing

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from processor.kafka.clients import reader
from tests.support.deployment import REQUEST_S, await_condition


def committed_offsets(settings, group_id, topic, partitions):
    """Give the offsets that a group committed: partition -> (offset, metadata).

    Asked by a consumer that never joins: the administrator's question can end the process while the group's
    coordinator comes up (librdkafka issue 5040).
    """
    asked = [TopicPartition(topic, partition) for partition in partitions]
    with closing(reader(settings, **{"group.id": group_id})) as consumer:
        found = await_condition(lambda: _answer(consumer, asked), "the group's coordinator answers")
    return {entry.partition: (entry.offset, entry.metadata) for entry in found if entry.offset >= 0}


def _answer(consumer, asked):
    """Give a group's offsets; None while its coordinator moves, as it does where the broker was slow."""
    try:
        return consumer.committed(asked, REQUEST_S)
    except KafkaException as error:
        if error.args[0].code() not in {KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS}:
            raise
        return None
