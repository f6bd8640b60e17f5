"""The same work in Quix Streams: exactly once, orders in its RocksDB state by order id, contacts looked up in Redis.

The rules, the codec and the form of an order are this project's own, so that what is compared is the framework:
one function call, one state transaction and one look-up an event, where order-facts does all of them by the batch.

    python -m tests.benchmarks.quix.app '{"bootstrap_servers": ..., "group_id": ..., ...}'
"""

import json
import sys
from typing import Any

from quixstreams import Application, message_context
from redis import Redis

from processor.codec.avro import codec
from processor.codec.order_state import order_of, state_of
from processor.domain.events import parse
from processor.domain.identifiers import find_owner, identification
from processor.domain.orders import decide
from processor.domain.records import Parsing, Policy, Source, UndecodableError
from processor.domain.rejections import Reason, Rejection

STATE = "order"


class Processor:
    """What is done with one event."""

    def __init__(self, job):
        self._codec = codec()
        self._redis = Redis.from_url(job["redis_url"])
        self._identifiers = job["identifiers"]
        self._parsing, self._policy = Parsing(identification()), Policy()

    def process(self, value, key, timestamp, _headers, state):
        """Give the value and the headers of the event's output; a fact has no headers."""
        context = message_context()
        source = Source(context.partition, context.offset, timestamp)
        after = self._after(value, key, source, state)
        if isinstance(after, Rejection):
            return value, _rejected_headers(after, source)
        state.set_bytes(STATE, state_of(after))
        return self._codec.encode_fact(after), []

    def _after(self, value, key, source, state):
        try:
            event = self._codec.read_event(value)
        except UndecodableError as error:
            return Rejection(Reason.UNDECODABLE, str(error))
        command = parse(event, key, self._parsing)
        if isinstance(command, Rejection):
            return command
        held = state.get_bytes(STATE)
        order = None if held is None else order_of(held)
        return decide(order, command, self._owner(command), source, self._policy)

    def _owner(self, command):
        wanted = [candidate.identifier for candidate in command.candidates if candidate.identifier is not None]
        if not wanted:
            return None
        found: list[Any] = self._redis.hmget(self._identifiers, [f"{field}:{value}" for field, value in wanted])
        contacts = {name: contact.decode() for name, contact in zip(wanted, found, strict=True) if contact is not None}
        return find_owner(command.candidates, contacts)


def application(job):
    """Give the application, its stream defined."""
    app = Application(
        broker_address=job["bootstrap_servers"],
        consumer_group=job["group_id"],
        processing_guarantee="exactly-once",
        auto_offset_reset="earliest",
        commit_interval=job["commit_ms"] / 1000,
        state_dir=job["state_folder"],
        producer_extra_config={"compression.type": "zstd"},
        loglevel="WARNING",
    )
    both = {"value_serializer": "bytes", "key_serializer": "bytes"}
    events = app.topic(job["events_topic"], value_deserializer="bytes", key_deserializer="bytes")
    facts, rejected = (app.topic(job[f"{role}_topic"], **both) for role in ("facts", "rejected"))
    stream = app.dataframe(events)
    stream = stream.apply(Processor(job).process, stateful=True, metadata=True)
    stream = stream.set_headers(lambda output, _key, _timestamp, _headers: output[1])
    stream = stream.apply(lambda output: output[0])
    stream.to_topic(lambda _value, _key, _timestamp, headers: rejected if headers else facts)
    return app


def _rejected_headers(rejection, source):
    headers = {
        "reason": rejection.reason.value,
        "outcome": rejection.reason.outcome.value,
        "detail": rejection.detail,
        "source.partition": str(source.partition),
        "source.offset": str(source.offset),
        "source.timestamp": str(source.timestamp_ms),
    }
    return [(name, text.encode()) for name, text in headers.items()]


if __name__ == "__main__":
    application(json.loads(sys.argv[1])).run()
