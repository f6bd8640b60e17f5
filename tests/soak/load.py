"""The load of the soak: events of a bounded number of orders at an even rate, and contacts that change meanwhile."""

import random
import threading
import time
from contextlib import contextmanager

from processor.codec.avro import codec
from processor.kafka.clients import plain_producer
from tests.support.deployment import headers_of
from tests.support.traffic import CONTACTS, contacts, traffic

ORDERS = 4_000
CHUNK = 2_000  # events made at a time
TURN_S = 0.02
CONTACT_EVERY_S = 0.2
OTHERS = 50  # contacts that no order names
FLUSH_S = 120


class Load:
    """Two threads that send; `flowing` starts and ends them."""

    def __init__(self, settings, seed, rate_per_s):
        self.sent = self.contacts_changed = 0
        self.seconds = 0.0
        self._settings = settings
        self._random = random.Random(seed)
        self._rate_per_s = rate_per_s
        self._stop, self._failed = threading.Event(), threading.Event()

    @contextmanager
    def flowing(self):
        """Send until the block ends; then all that was sent has arrived."""
        threads = [
            threading.Thread(target=self._guard, args=(work,), daemon=True) for work in (self._events, self._contacts)
        ]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(FLUSH_S)
            self.seconds = time.monotonic() - begun
        assert not self._failed.is_set(), "the load broke off"
        assert not any(thread.is_alive() for thread in threads), "the load does not end"

    def require_well(self, wait_s):
        """Wait; require that nothing of the load fails meanwhile."""
        assert not self._failed.wait(wait_s), "the load broke off"

    def _guard(self, work):
        try:
            work(plain_producer(self._settings))
        except BaseException:
            self._failed.set()
            raise

    def _events(self, producer):
        begun, batch = time.monotonic(), iter(())
        while not self._stop.wait(TURN_S):
            for _ in range(int((time.monotonic() - begun) * self._rate_per_s) - self.sent):
                record = next(batch, None)
                if record is None:
                    batch = iter(traffic(self._random.randrange(1 << 30), CHUNK, orders=ORDERS))
                    record = next(batch)
                producer.produce(self._settings.events_topic, record.value, record.key, headers=headers_of(record))
                self.sent += 1
            producer.poll(0)
        assert producer.flush(FLUSH_S) == 0

    def _contacts(self, producer):
        """Change contacts in ways that change nobody's orders: another token, contacts that no event names."""
        known = contacts()
        while not self._stop.wait(CONTACT_EVERY_S):
            number = self.contacts_changed
            contact = dict(known[number % CONTACTS])
            contact["pushTokens"] = [*contact["pushTokens"], f"new-{number}"]
            other = {"contactId": f"x{number % OTHERS}", "email": f"x{number}@shop.example"}
            for changed in (contact, other):
                value = codec().encode_contact(changed)
                producer.produce(self._settings.contacts_topic, value, changed["contactId"].encode())
            producer.poll(0)
            self.contacts_changed += 2
        assert producer.flush(FLUSH_S) == 0
