"""Step 1: this replica's membership of the consumer group, and the records that the client hands over.

`Partitions` keeps each partition's state; this module only talks to the client. The rebalance callbacks note what
changed; they fetch and decide nothing.

The client is assigned exactly the placed partitions that can be read, each in one step at its offset. None is paused or
resumed meanwhile: the client can lose a resume (librdkafka issue 5591), and never reads such a partition.

No record handed over is ever forgotten: it is in the batch that `take` returns, or its partition is owed. A batch
during which a callback ran is dropped, and its partitions are owed: its records were read in another generation than
its offsets would be committed in. After such a drop a partition must begin with the first dropped record, unless
everything is rewound: records that were read ahead come after those of the batch that failed.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from processor.domain.records import Record
from processor.errors import OrderFactsError, RetryError, StopError, UnreadableError
from processor.kafka.clients import group_consumer
from processor.kafka.cluster import Cluster
from processor.kafka.failures import classify_consumer, failure_of, failures
from processor.kafka.messages import fitting, split_messages, take
from processor.logs import get_logger
from processor.replica import metrics
from processor.replica.ghosts import NameTaken
from processor.replica.partitions import Partitions, Placed
from processor.settings import Settings
from processor.state.watermark import offset_entry

_UNSTABLE: Final = frozenset({KafkaError.UNSTABLE_OFFSET_COMMIT, KafkaError._TIMED_OUT})  # noqa: SLF001
_MOST_UNANSWERED: Final = 3
_ANSWER_S: Final = 3.0
_LEAVE_POLLS: Final = 100  # of 50 ms each: how long a stop waits to have joined, and then to have left
log = get_logger()


class Intake(msgspec.Struct, frozen=True):
    """Records handed over, and the group's metadata at that moment: they are committed in that generation."""

    records: list[Record]
    generation: Any


class Group:
    """The group's consumer: membership and intake."""

    def __init__(self, settings: Settings, partitions: Partitions) -> None:
        self._topic = settings.events_topic
        self._settings = settings
        self._partitions = partitions
        self._consumer: Consumer = group_consumer(settings)
        self._is_fenced = False  # the consumer is unusable
        self._unanswered = 0  # pings in a row
        self._is_joining = True  # not answered yet
        self._name_taken = NameTaken()
        self._changes = 0  # rebalance callbacks that ran
        self.emptied = 0  # how often `take` took all that the client had fetched
        self._held: list[Record] = []  # handed over, in order, not yet in a batch

    def join(self) -> None:
        """Join the group; partitions arrive in later polls."""
        self._is_joining = True
        revoked, lost = partial(self._on_taken, lost=False), partial(self._on_taken, lost=True)
        self._consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=revoked, on_lost=lost)

    @property
    def has_joined(self) -> bool:
        """Whether the group has answered with this member's partitions, be they none."""
        return not self._is_joining

    def replace_if_unusable(self, cluster: Cluster) -> None:
        """Replace a consumer that lost its brokers for ever (see `kafka.sight`), or was fenced by its own ghost.

        Raises RetryError while that is not known, and StopError if another process has this instance id.
        """
        if self._unanswered >= _MOST_UNANSWERED:
            cluster.partition_count(self._topic, _ANSWER_S)  # raises while Kafka is away
            try:
                self.ping(_ANSWER_S)
            except RetryError:
                self._replace("the consumer found no broker where another client does")
        if self._is_fenced:
            self._name_taken.require_free(cluster, self._settings)
            self._replace("the consumer was fenced by its own earlier attempt to join")

    def _replace(self, why: str) -> None:
        """Join with a new consumer."""
        with suppress(KafkaException, RuntimeError):  # it is unusable, whatever it reports
            self._consumer.close()
        self._changes += 1
        self._partitions.take(self._partitions.assigned, lost=True)
        self._held, self._is_fenced, self._name_taken, self._unanswered = [], False, NameTaken(), 0
        self._consumer = group_consumer(self._settings)
        log.warning("group.rejoined", error=why)
        self.join()

    def take(self, most: int, most_bytes: int, wait_s: float) -> Intake:
        """Wait for a first record, then take what is already there: up to `most` records and about `most_bytes`.

        Records that were given back, or exceeded the bytes, come first. Until they are used up, a call takes at most
        one more: what it polls for is a rebalance. Returns no records if one came between.
        """
        if not self._held and self._partitions.retry(time.monotonic()):
            self.rewind()
        changes = self._changes
        with failures(f"reading {self._topic}", self._failed):
            first = self._consumer.poll(0.0 if self._held else wait_s)
            generation = self._consumer.consumer_group_metadata()
            if first is None and not self._held:
                self.emptied += 1
                return Intake([], generation)
            most_now = 1 if self._held else most
            there = ([], []) if first is None else take(self._consumer.consume, first, most_now, most_bytes)
        is_all = not self._held and len(there[0]) + len(there[1]) < most
        fresh, failed = self._split(*there)
        records, self._held = self._held + fresh, []
        if failed is not None:
            self.rewind(records)
            raise failed
        if changes != self._changes:
            self.rewind(records)
            log.info("batch.dropped", cause="rebalance", records=len(records))
            return Intake([], generation)
        records = self._partitions.usable(records)
        self._check_first(records)
        for unread in self._partitions.read_on(records) if self._partitions.unread else ():
            log.info("partition.readable", partition=unread.error.partition, offset=unread.error.offset)
        count = fitting(records, most, most_bytes)
        if is_all and count == len(records):
            self.emptied += 1
        self.give_back(records[count:])
        return Intake(records[:count], generation)

    def give_back(self, records: list[Record]) -> None:
        """Take back records of a batch that were not used; they come first in the next one."""
        self._held = [*records, *self._held]

    def withhold(self, records: list[Record]) -> None:
        """Give up the partitions of these records for now, from these on: their schemas are not known yet.

        They are in no batch; what was handed over behind them is dropped, too.
        """
        self._partitions.withhold(records)
        withheld = {record.partition for record in records}
        self._held = [record for record in self._held if record.partition not in withheld]
        self._unassign()

    def stay(self, wait_s: float) -> None:
        """Keep polling while every partition is owed: callbacks run, no record is taken."""
        with failures(f"reading {self._topic}", self._failed):
            message: Message | None = self._consumer.poll(wait_s)
        records, failed = self._split(*split_messages([] if message is None else [message]))
        if failed is not None:
            raise failed
        self.rewind(records)

    @property
    def held(self) -> set[int]:
        """The partitions of records that were handed over and are not in a batch yet."""
        return {record.partition for record in self._held}

    def positions(self, partitions: Collection[int]) -> list[TopicPartition]:
        """Return where placed partitions are read, below 0 if nothing was yet, each with the leader epoch before it."""
        with failures("asking for positions", self._failed):
            return self._consumer.position(self._entries(partitions))

    def read_again(self, partitions: Collection[int]) -> None:
        """Owe a place to partitions that give nothing, whatever keeps the client from reading them."""
        self._partitions.owe(partitions)
        self._unassign()
        with failures("resuming", self._failed):  # a pause outlives its assignment; until `place`, this call meets none
            self._consumer.resume(self._entries(partitions))

    def committed(self, partitions: Collection[int], wait_s: float) -> list[TopicPartition] | None:
        """Return the committed offsets; None if they are not stable within `wait_s`: a transaction is open."""
        try:
            found = self._consumer.committed(self._entries(partitions), timeout=wait_s)
        except KafkaException as error:
            if error.args[0].code() in _UNSTABLE:
                return None
            raise self._failed(error.args[0], "fetching committed offsets") from error
        for entry in found:
            if entry.error is not None:
                raise self._failed(entry.error, "fetching committed offsets")
        return found

    def place(self, places: Mapping[int, Placed]) -> None:
        """Read partitions from their watermarks on, by explicit assignment: a seek can fail for one partition."""
        logs = self._partitions.log
        starts = [offset_entry(self._topic, p, at.watermark.source, logs(p).epoch) for p, at in places.items()]
        with failures(f"placing partitions {sorted(places)}", self._failed):
            self._consumer.incremental_assign(starts)
        for number, placed in places.items():
            self._partitions.place(number, placed)

    def ends(self) -> dict[int, int]:
        """Return the next offset of each partition that was read to its end, if that is beyond its watermark.

        A partition with held records is left out. These offsets are committed too: one that points at a transaction's
        marker looks like loss once retention removes the marker.
        """
        held = self.held
        return {number: end for number, end in self._partitions.ends().items() if number not in held}

    def rewind(self, in_hand: Iterable[Record] = ()) -> None:
        """Owe a place to the partitions of these records; they are not read until they have one."""
        self._partitions.rewind(in_hand)
        self._unassign()

    def rewind_everything(self) -> None:
        """Owe a place to every partition, and forget all records handed over."""
        with suppress(RetryError):  # the error is known
            self.stay(0.0)  # a revocation that waits is answered first: the client takes any unassignment for that
        self._partitions.rewind_everything()
        self._held = []
        self._unassign()

    def ping(self, wait_s: float) -> None:
        """Ask a broker for the topic's metadata. Raises RetryError if none answers."""
        self._unanswered += 1
        with failures("asking for metadata", self._failed):
            self._consumer.list_topics(self._topic, timeout=wait_s)
        self._unanswered = 0

    def backlog_records(self) -> int | None:
        """Return how many committed records wait, as the client heard when it fetched: a hint; `Lag` asks brokers."""
        if self._partitions.owed:
            return None
        backlog = 0
        with failures("asking for the backlog", self._failed):
            for partition, placed in self._partitions.placed.items():
                ends = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
                if ends is None or ends[1] < 0:
                    return None
                backlog += max(0, ends[1] - placed.watermark.source)
        return backlog

    def leave(self) -> None:
        """Leave for good: first unsubscribe and give up all partitions, or they wait for the session's end.

        The client loses its member id once it has sent that it leaves; if it closes earlier, it never sends that. So
        wait for it, and before that for a first join, if it ends soon: a member that gets partitions only while it
        closes stays in the group for a session, and can hang in the client's `close` for ever (librdkafka issue 4884).
        """
        try:
            with suppress(KafkaException):  # a fenced member has nothing to leave; its error is reported elsewhere
                self._poll_while(lambda: self._is_joining)
                self._consumer.unsubscribe()
                self._consumer.poll(0.0)  # takes an assignment that came just before
                self._poll_while(lambda: bool(self._partitions.assigned or self._consumer.memberid()))
        finally:
            self._consumer.close()

    def _poll_while(self, is_so: Callable[[], bool]) -> None:
        """Poll while `is_so`, but not for ever, and not with an unusable consumer."""
        for _ in range(_LEAVE_POLLS):
            if self._is_fenced or not is_so():
                break
            self._consumer.poll(0.05)

    def _split(self, records: list[Record], others: list[Message]) -> tuple[list[Record], OrderFactsError | None]:
        """Return the records that can be used, and the first error; note ends of partitions, and what is unreadable."""
        failed = None
        for message in others:
            match failure_of(message, f"reading {self._topic}"):
                case None:
                    self._partitions.ended(cast("int", message.partition()), cast("int", message.offset()))
                case UnreadableError() as unreadable:
                    records = self._stop_reading(unreadable, records)
                case _:
                    error = cast("KafkaError", message.error())
                    failed = failed or self._failed(error, f"reading {self._topic}")
        return records, failed

    def _stop_reading(self, error: UnreadableError, records: list[Record]) -> list[Record]:
        """Give up a partition that cannot be read on, and return the records without those beyond that place.

        The client may have gone on behind it; a partition without a place is placed again anyhow.
        """
        number = error.partition
        placed = self._partitions.placed.get(number)
        if placed is None:
            return records
        offset = max(error.offset, placed.watermark.source)  # the error's is that of a batch, maybe processed in part
        skip = f"order-facts state skip --partition {number} --offset {offset}"
        how = f"{error.problem}; the other partitions go on; to go on without it, stop all replicas and run: {skip}"
        error = UnreadableError(error.topic, number, offset, how)
        unread = self._partitions.stop_reading(error, time.monotonic())
        self._unassign()
        at = {"topic": error.topic, "partition": number, "offset": error.offset}
        log.error("partition.unreadable", **at, error=str(error), attempts=unread.attempts)
        return [record for record in records if record.partition != number or record.offset < error.offset]

    def _failed(self, error: KafkaError, doing: str) -> OrderFactsError:
        """Return what an error asks for; note whether it makes the consumer unusable."""
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001
            self._is_fenced = True
            return RetryError(f"{doing}: {error.str()}")
        return classify_consumer(error, doing)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._changes += 1
        self._is_joining = False
        numbers = sorted(entry.partition for entry in partitions)
        self._partitions.assign(numbers)
        if numbers:
            consumer.incremental_assign([])  # the client must be answered; `place` assigns each partition at its offset
            metrics.REBALANCES.labels("assigned").inc()
            log.info("partition.assigned", partitions=numbers)

    def _on_taken(self, consumer: Consumer, partitions: list[TopicPartition], *, lost: bool) -> None:
        self._changes += 1
        if numbers := sorted(entry.partition for entry in partitions):
            consumer.incremental_unassign(self._entries(self._partitions.readable.intersection(numbers)))
            self._partitions.take(numbers, lost=lost)
            metrics.REBALANCES.labels("lost" if lost else "revoked").inc()
            log.info("partition.revoked", partitions=numbers, lost=lost)

    def _unassign(self) -> None:
        """Have the client read what can be read of the placed partitions and nothing else."""
        kept = self._partitions.readable
        with failures("giving up partitions", self._failed):
            if given_up := [entry for entry in self._consumer.assignment() if entry.partition not in kept]:
                self._partitions.gives_up(self._consumer.position(given_up))
                self._consumer.incremental_unassign(given_up)

    def _entries(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions]

    def _check_first(self, records: Iterable[Record]) -> None:
        """Require that a partition that is read again begins with the first dropped record."""
        for number, due in self._partitions.due().items():
            first = next((record.offset for record in records if record.partition == number), None)
            if first is None or number not in self._partitions.readable:  # of one given up a batch left records over
                continue
            if first != due:
                raise StopError(
                    f"{self._topic}[{number}]: offset {due} was read once and is gone, the next is {first}; "
                    "records were deleted while they were processed: start again to see which are lost"
                )
            self._partitions.met(number)
