"""Reads the contacts topic: batches of changes, and the offsets after them."""

from collections.abc import Collection, Sequence
from typing import Final, cast

import msgspec
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from processor.codec.avro import UndecodableError, codec
from processor.domain.claims import ContactChange, identifiers_of
from processor.domain.records import Record
from processor.kafka.cluster import Topic
from processor.kafka.failures import classify
from processor.kafka.messages import record_of
from processor.logs import get_logger

log = get_logger()
MAX_BATCH_RECORDS: Final = 5_000
MAX_CONTACT_ID_BYTES: Final = 65_535


class Batch(msgspec.Struct):
    """The result of one poll. `changes` has the newest change of each contact, by contact id."""

    changes: dict[bytes, ContactChange]
    records: int = 0
    skipped: int = 0


class ContactReader:
    """Reads all partitions from given offsets on; `offsets` has each partition's next offset.

    `custom_fields` are the further contact fields that identify, besides the built-in ones (D14).
    """

    def __init__(
        self, consumer: Consumer, topic: Topic, offsets: Sequence[int], custom_fields: Collection[str]
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._custom_fields = custom_fields
        self.offsets = list(offsets)
        consumer.assign([TopicPartition(topic.name, *entry) for entry in enumerate(offsets)])

    def poll(self, timeout_s: float) -> list[Message]:
        """Return what is there; waits at most `timeout_s`, and only for the first message."""
        first = self._consumer.poll(timeout_s)  # `consume` alone would wait for a whole batch
        return [] if first is None else [first, *self._consumer.consume(MAX_BATCH_RECORDS - 1, 0)]

    def read(self, messages: Sequence[Message]) -> Batch:
        """Decode messages, and move the offsets past them.

        Records and end-of-partition messages move them: compaction leaves gaps, and transactions leave markers that
        no record shows. A contact's newer change replaces its older one; a record that cannot be read is skipped (C1).
        Raises what a consumer's error asks for.
        """
        batch = Batch({})
        for message in messages:
            error, partition, offset = message.error(), cast("int", message.partition()), cast("int", message.offset())
            if error is None:
                batch.records += 1
                try:
                    change = change_of(record_of(message), self._custom_fields)
                except UndecodableError as problem:
                    batch.skipped += 1
                    log.warning("contacts.skipped", partition=partition, offset=offset, problem=str(problem))
                else:
                    batch.changes[change.contact_id] = change
            elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                raise classify(error, f"reading {self._topic.name}")
            # An end-of-partition message has the next offset.
            self.offsets[partition] = offset + (error is None)
        return batch


def change_of(record: Record, custom_fields: Collection[str]) -> ContactChange:
    """Return what a record changes.

    Raises UndecodableError if the record must be skipped: what was known of the contact stays (C1).
    """
    key, value = record.key, record.value
    if key is None:
        raise UndecodableError("the record has no key")
    if len(key) > MAX_CONTACT_ID_BYTES:
        raise UndecodableError(f"the key has {len(key)} bytes, more than {MAX_CONTACT_ID_BYTES}")
    try:
        contact_id = key.decode()
    except UnicodeDecodeError as error:
        raise UndecodableError("the key is not UTF-8") from error
    identifiers = None
    if value is not None:
        identifiers = identifiers_of(contact_id, codec().decode_contact(value), custom_fields)
    return ContactChange(key, record.partition, record.offset, record.timestamp_ms, identifiers)
