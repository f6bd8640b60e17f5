"""Orders whose contacts come some seconds later: the healer must make facts of each, whatever breaks meanwhile."""

import threading
import time
from collections import Counter, deque
from typing import Any

from processor.codec.avro import codec
from processor.kafka.clients import plain_producer
from tests.support.comparison import source_of_fact, source_of_rejection
from tests.support.facts import fact_of
from tests.support.healers import status, updated
from tests.support.traffic import created

NAME = b"late-"
LATE_S = 4.0
PACE_S = 0.5


def is_late(key):
    """Tell whether a record is of an order whose contact comes late: the reference judges none of them."""
    return (key or b"").startswith(NAME)


class LateOrders:
    """Sends such orders, each with a change and a delivery, and their contacts after them."""

    def __init__(self, deployment):
        self._deployment = deployment
        self._lock = threading.Lock()
        self.orders = 0

    def send(self, stop):
        """Send orders until told to stop, then the contacts that are still owed."""
        settings = self._deployment.settings
        producer = plain_producer(settings)
        owed: deque[tuple[float, int]] = deque()
        while not stop.wait(PACE_S):
            number = self.orders
            name = f"late-{number}"
            events = (created(name, phone=f"+998{number:06}"), updated(name, storeId="s"), status(name))
            for record in events:
                producer.produce(settings.events_topic, self._deployment.framed(record.value), record.key)
            owed.append((time.monotonic() + LATE_S, number))
            self.orders += 1
            while owed and owed[0][0] <= time.monotonic():
                self._send_contact(producer, owed.popleft()[1])
            producer.poll(0)
        for _, number in owed:
            self._send_contact(producer, number)
        assert producer.flush(120) == 0

    def _send_contact(self, producer, number):
        value = codec().encode_contact({"contactId": f"late-{number}", "phone": f"+998{number:06}"})
        contact = self._deployment.framed(value)
        producer.produce(self._deployment.settings.contacts_topic, contact, b"late-%d" % number)

    def missing(self):
        """Give the orders that are not yet as they would be had the contacts come first."""
        return sorted({f"late-{number}" for number in range(self.orders)} - self._whole().keys())

    def differences(self):
        """Give a line for each event that has not one output, or went back twice in one round."""
        settings = self._deployment.settings
        events = [record for record in self._deployment.read(settings.events_topic) if is_late(record.key)]
        outputs = Counter(map(source_of_fact, filter(_is_late, self._deployment.read(settings.facts_topic))))
        outputs.update(map(source_of_rejection, filter(_is_late, self._deployment.read(settings.rejected_topic))))
        lines = [
            f"{place}: {count} outputs of an order whose contact came late"
            for place in {(record.partition, record.offset) for record in events} | outputs.keys()
            if (count := outputs[place]) != 1
        ]
        sent = Counter((record.key, record.value, dict(record.headers).get("replay.round")) for record in events)
        return lines + [f"{key}: went back twice in one round" for (key, _, _), count in sent.items() if count > 1]

    def _whole(self):
        found: dict[str, list[dict[str, Any]]] = {}
        for record in filter(_is_late, self._deployment.read(self._deployment.settings.facts_topic)):
            fact = fact_of(record.value)
            found.setdefault(fact["externalOrderId"], []).append(fact)
        return {
            name: facts
            for name, facts in found.items()
            if [fact["revision"] for fact in facts] == [1, 2, 3] and facts[-1]["status"] == "DELIVERED"
        }


def _is_late(record):
    return is_late(record.key)
