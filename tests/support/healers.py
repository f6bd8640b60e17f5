"""A deployment whose contacts come late, the healer that watches it, and the world in which they came first."""

import json
import random

from processor.codec.avro import codec
from tests.support.deployment import await_condition
from tests.support.producing import quick_producer
from tests.support.replays import Replays, facts_of
from tests.support.traffic import Sent, created, event

QUIET_S = 4.0  # longer than a replay by hand takes from one transaction to the next


class Healers(Replays):
    """A deployment with verbs for its healer."""

    def healer(self, *options, name="healer", **changes):
        """Start a healer."""
        return self.start("rejected", "replay", "--follow", *options, name=name, **changes)

    def sabotaged_healer(self, moment, time, signal_name="SIGKILL", records=10, **changes):
        """Start a healer that signals itself, and does not wait long for the end of a replay by hand."""
        plan = {"moment": moment, "time": time, "signal": signal_name, "records": records, "quiet_s": QUIET_S}
        return self._planned(plan, "sabotaged-healer", changes)

    def impatient_healer(self):
        """Start a healer that does not wait long for the end of a replay by hand."""
        return self._planned({"quiet_s": QUIET_S}, "healer", {})

    def small_healer(self, most):
        """Start a healer that holds so many records at most."""
        return self._planned({"most": most, "quiet_s": QUIET_S}, "small-healer", {})

    def _planned(self, plan, name, changes):
        extra = {"TEST_SABOTAGE": json.dumps(plan)}
        return self.healer(name=name, module="tests.support.healer_saboteur", extra=extra, **changes)

    def heal_once(self, *options, **changes):
        """Run a healer for a cron job and give its line."""
        return json.loads(self.command("rejected", "replay", "--follow", "--once", *options, **changes).stdout)

    def send_own(self, events, first_ms=None):
        """Send events, one after the other, each at its own time: now, or a millisecond apart from the first on."""
        producer = quick_producer(self.settings)
        for number, record in enumerate(events):
            at = {} if first_ms is None else {"timestamp": first_ms + number}
            producer.produce(self.settings.events_topic, record.value, record.key, **at)
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
