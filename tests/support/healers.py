"""A deployment whose contacts come late, the healer that watches it, and the world in which they came first."""

import json
import random
import secrets

from msgspec.structs import replace

from processor.codec.avro import codec
from processor.kafka.clients import plain_producer
from tests.support.deployment import await_condition, deployed
from tests.support.facts import fact_of
from tests.support.replays import Replays
from tests.support.traffic import Sent, created, event


class Healers(Replays):
    """A deployment with verbs for its healer."""

    def healer(self, *options, name="healer", **changes):
        """Start a healer."""
        return self.start("rejected", "replay", "--follow", *options, name=name, **changes)

    def sabotaged_healer(self, moment, time, signal_name="SIGKILL", records=10, **changes):
        """Start a healer that signals itself."""
        plan = {"moment": moment, "time": time, "signal": signal_name, "records": records}
        return self.start(
            *("rejected", "replay", "--follow"),
            name="sabotaged-healer",
            module="tests.support.healer_saboteur",
            extra={"TEST_SABOTAGE": json.dumps(plan)},
            **changes,
        )

    def heal_once(self, *options, **changes):
        """Run a healer for a cron job and give its line."""
        return json.loads(self.command("rejected", "replay", "--follow", "--once", *options, **changes).stdout)

    def send_own(self, events):
        """Send events, one after the other, each at its own time."""
        producer = plain_producer(self.settings)
        for record in events:
            producer.produce(self.settings.events_topic, record.value, record.key)
        assert producer.flush(30) == 0
        self.sent += len(events)

    def back(self):
        """Give the copies in the events topic, by the place and round of what was sent back."""
        return [record for record in self.events() if "replay.round" in dict(record.headers)]

    def await_quiet(self, facts, patience_s=60):
        """Wait until there are so many facts, and every event has its output."""
        await_condition(lambda: len(self.read(self.settings.facts_topic)) >= facts, self.tails, patience_s)
        self.await_accounted(len(self.events()))

    def facts(self):
        """Give all facts by partition, in order, but for the source offset."""
        return facts_of(self)

    def orders(self):
        """Give the latest fact of each order, without what depends on when and how often events came."""
        own = {"sourceOffset", "revision", "eventTypeKey", "createdAt", "updatedAt", "statusChangedAt"}
        latest = {fact["externalOrderId"]: fact for _, fact in self.facts()}
        return {name: {k: v for k, v in fact.items() if k not in own} for name, fact in latest.items()}


def facts_of(deployment):
    """Give all facts by partition, in order, but for the source offset."""
    found = [(r.partition, fact_of(r.value)) for r in deployment.read(deployment.settings.facts_topic)]
    return [(partition, {k: v for k, v in fact.items() if k != "sourceOffset"}) for partition, fact in found]


def facts_with_contacts_first(settings, folder, records, contacts):
    """Give the facts of a second deployment, to which the same records come once all contacts are known."""
    unique = secrets.token_hex(4)
    topics = {f"{role}_topic": f"{role}-{unique}" for role in ("events", "contacts", "facts", "rejected", "healed")}
    folder.mkdir()
    with deployed(replace(settings, group_id=f"group-{unique}", **topics), folder) as other:
        other.send_contacts(contacts)
        other.index()
        producer = plain_producer(other.settings)
        for r in records:
            producer.produce(other.settings.events_topic, r.value, r.key, r.partition, timestamp=r.timestamp_ms)
        assert producer.flush(30) == 0
        replica = other.replica("b")
        other.await_accounted(len(records))
        replica.stop()
        return facts_of(other)


def contact_value(contact):
    """Give a contact's bytes."""
    return codec().encode_contact(contact)


def late_traffic(seed, orders, contacts_known):
    """Give the events of whole orders, interleaved: created, changed with and without an identifier, delivered.

    Order n is of contact n modulo `contacts_known`; each of its events names that one, or nobody.
    """
    source = random.Random(seed)
    waiting = [_life(source, number, number % contacts_known) for number in range(orders)]
    found = []
    while waiting:
        life = source.choice(waiting)
        found.append(life.pop(0))
        if not life:
            waiting.remove(life)
    return found


def _life(source, number, contact):
    name = f"h{number}"
    named = source.choice(({"phone": f"+999{contact:06}"}, {"Email": f"BUYER.{contact}@shop.example"}))
    life = [created(name, phone=None, **named) if "Email" in named else created(name, **named)]
    changes = [{"totalCost": "1.50", **named}, {"storeId": f"s{number}"}, {"status": "IN_PROGRESS"}]
    life += [updated(name, **change) for change in source.sample(changes, source.randrange(len(changes) + 1))]
    if source.random() < 0.7:
        life.append(status(name, source.choice(("orderDelivered", "orderCancelled"))))
    return life


def updated(order_id, **params):
    """Give the record of an orderUpdated."""
    return Sent(order_id.encode(), codec().encode_event(event("orderUpdated", order_id, **params)))


def status(order_id, event_type="orderDelivered", **params):
    """Give the record of an event that only sets the status."""
    return Sent(order_id.encode(), codec().encode_event(event(event_type, order_id, **params)))
