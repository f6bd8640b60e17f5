"""A batch's delivery reports: the facts' offsets, and the records that the broker refused for their size."""

from confluent_kafka import KafkaError, Message

from processor.kafka.deliveries import Deliveries


class BatchDeliveries(Deliveries):
    """The delivery reports of one batch's facts and rejected records, as far as they were requested."""

    def __init__(self) -> None:
        super().__init__()
        self.facts_offsets: dict[int, int] = {}  # by partition: the offset of the last fact reported
        self.too_large: set[tuple[int, int]] = set()  # partition and offset of refused records that can be cut
        self.refused_by: str | None = None  # the topic that refused a record, for its size, that cannot be cut

    def fact(self, error: KafkaError | None, message: Message) -> None:
        """Take a fact's report."""
        offset, partition = message.offset(), message.partition()
        if error is not None:
            self.whole(error, message)
        elif offset is not None and partition is not None and offset >= 0:
            self.facts_offsets[partition] = offset
        else:
            self.failed(KafkaError(KafkaError._BAD_MSG, "a delivery report without an offset"))  # noqa: SLF001

    def whole(self, error: KafkaError | None, message: Message) -> None:
        """Take the report of a record that cannot be cut."""
        if error is not None and self.failed(error):
            self.refused_by = message.topic()

    def large(self, place: tuple[int, int], error: KafkaError | None, _message: Message) -> None:
        """Take the report of a rejected record that can be cut."""
        if error is not None and self.failed(error):
            self.too_large.add(place)
