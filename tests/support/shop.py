"""A contacts topic with its producer, its index's writers, and the eyes of the processor."""

import threading
from contextlib import contextmanager

import msgspec
from confluent_kafka import Producer
from structlog.testing import capture_logs

from processor.codec.avro import codec
from processor.contacts.keeper import IndexKeeper
from processor.contacts.lookup import ContactIndex, IndexNotReadyError
from processor.contacts.shards import lineage_of, shard_keys
from processor.domain.identifiers import comparable
from processor.errors import RetryError
from processor.kafka.cluster import Cluster
from processor.settings.rules import identification_of
from processor.state.connection import connect
from tests.support.deployment import await_condition
from tests.support.redis_client import raw_client

WAIT_S = 30.0


class Shop:
    """One contacts topic and its index; `lines` are what the last writer logged."""

    def __init__(self, settings, create_topic, **config):
        self.settings = settings
        self.cluster = Cluster(settings)
        self.cluster_id = self.cluster.wait()
        self.servers, self.client = connect(settings), raw_client(settings)
        self.producer = Producer({"bootstrap.servers": settings.bootstrap_servers, "linger.ms": 0})
        self.lines = []
        self.create_topic = create_topic
        self.create(**config)

    @property
    def lineage(self):
        """Give the index's lineage under the present settings."""
        return lineage_of(self.cluster_id, self.settings)

    @property
    def keys(self):
        """Give the index's keys under the present settings."""
        return shard_keys(self.lineage)

    def create(self, partitions=3, **config):
        """Create the topic."""
        self.create_topic(self.settings.contacts_topic, partitions, **{"cleanup_policy": "compact"} | config)
        await_condition(lambda: self.topic() and self.ends(), "the topic is there, and its partitions have leaders")

    def topic(self):
        """Give the topic as it is now, None where there is none."""
        return self.cluster.topics([self.settings.contacts_topic]).get(self.settings.contacts_topic)

    def ends(self):
        """Give the partitions' committed ends, None while they cannot be told."""
        try:
            found = self.cluster.ends(self.settings.contacts_topic, range(self.topic().partitions))
        except RetryError:
            return None
        return tuple(end for _, end in sorted(found.items()))

    def send(self, contact_id, *, timestamp=0, partition=None, **contact):
        """Send a contact, whole."""
        self.send_raw(contact_id.encode(), codec().encode_contact({"contactId": "", **contact}), timestamp, partition)

    def delete(self, contact_id):
        """Send a tombstone."""
        self.send_raw(contact_id.encode(), None)

    def send_raw(self, key, value, timestamp=0, partition=None):
        """Send a record and await its acknowledgement."""
        place = {} if partition is None else {"partition": partition}
        errors = []
        self.producer.produce(
            self.settings.contacts_topic,
            value,
            key,
            timestamp=timestamp,
            on_delivery=lambda error, _: errors.append(error),
            **place,
        )
        assert self.producer.flush(WAIT_S) == 0
        assert errors == [None]

    def index(self, **changes):
        """Give a reader of the index, as the processor makes it."""
        settings = msgspec.structs.replace(self.settings, **changes)
        return ContactIndex(self.servers, settings, lineage_of(self.cluster_id, settings), self.topic())

    def find(self, field, value, index=None):
        """Look an identifier up; False while the index is not ready. `index` gives another reader than the shop's."""
        try:
            return (index or self.index)().find(comparable(field, value, identification_of(self.settings).phones))
        except RetryError:
            return False

    def await_found(self, field, value, contact_id, index=None):
        """Wait until an identifier finds this contact (None: nobody)."""
        await_condition(
            lambda: self.find(field, value, index) == contact_id,
            lambda: f"{field} {value} finds {contact_id}, not {self.find(field, value, index)}",
        )

    def await_read(self):
        """Wait until the index has all there is, and give its position."""
        index = self.index()

        def position():
            try:
                return index.look(()).position.offsets
            except IndexNotReadyError:
                return ()

        # the ends are asked for each time: a transaction's marker comes after its commit has returned
        return await_condition(
            lambda: (found := position()) == self.ends() and found, lambda: f"{self.ends()}, not {position()}"
        )

    @contextmanager
    def writer(self, **arguments):
        """Run `contacts index` for the length of a block; what ended it before is raised at its end."""
        with capture_logs() as lines:
            self.lines = lines
            writer = Writer(self.settings, **arguments)
            try:
                yield writer
            finally:
                writer.stop.set()
                writer.thread.join(WAIT_S)
            assert not writer.thread.is_alive()
        if writer.error is not None:
            raise writer.error

    def logged(self, event):
        """Give the lines of an event that were logged."""
        return [line for line in self.lines if line["event"] == event]

    def await_logged(self, event, count=1):
        """Wait until an event was logged so often."""
        await_condition(lambda: len(self.logged(event)) >= count, lambda: f"{event} in {self.lines}")


class Writer:
    """`contacts index` in a thread; `error` is what ended it."""

    def __init__(self, settings, **arguments):
        self.stop = threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self._run, args=(settings, arguments), daemon=True)
        self.thread.start()

    def _run(self, settings, arguments):
        try:
            IndexKeeper(settings, self.stop, **arguments).run()
        except Exception as error:  # noqa: BLE001 - raised again by the test's thread
            self.error = error

    def await_end(self):
        """Wait until it ended by itself, and give why."""
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()
        return self.error
