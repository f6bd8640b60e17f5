"""Producers of tests that send at once."""

from processor.kafka.clients import plain_producer

REQUEST_S = 30.0


def quick_producer(settings):
    """Give a producer that has met its broker, so that its first record leaves at once.

    librdkafka asks for the id of an idempotent producer when it is created, and where no broker has answered yet, again
    half a second later.
    """
    producer = plain_producer(settings)
    producer.list_topics(settings.events_topic, REQUEST_S)  # of one topic: the broker has those of all tests
    return producer
