"""`order-facts run` that harms itself at a named moment of a named batch: `python -m tests.support.saboteur`.

The environment variable TEST_SABOTAGE says when: {"moment": "after commit", "batch": 3, "signal": "SIGKILL"}. Instead
of a signal it may have "pause": the number of a partition that the client then no longer reads, unknown to the program;
or "empty": the address of a Redis that loses everything. Moments are "before" and "after" one of the six steps; within
step 3 "before owners" (identifiers are found, and it is to be asked whether contacts exist); and within step 5 "after
flush" (the facts are written, their offsets are not in the transaction) and "before end" (the offsets are, the commit
is not sent).
The line `test.sabotage` in the log proves that the moment was reached. The product itself has no hooks.
"""

import json
import os
import signal

from confluent_kafka import TopicPartition
from redis import Redis

from processor.cli import main
from processor.contacts.lookup import ContactIndex
from processor.kafka.transactions import Transactions
from processor.logs import get_logger
from processor.replica.ledger import Ledger
from processor.replica.service import Service

STEPS = {
    "poll": "poll",
    "decode": "decode",
    "look up": "look_up",
    "fold": "fold",
    "commit": "commit",
    "mirror": "mirror",
}


def signals(service, name):
    """Signal this process."""
    os.kill(os.getpid(), signal.Signals[name])


def pauses(service, partition):
    """Pause a partition behind the program's back."""
    service._group._consumer.pause([TopicPartition(service._settings.events_topic, partition)])


def empties(service, address):
    """Empty a Redis."""
    with Redis.from_url(address) as client:
        client.flushall()


ACTS = {"signal": signals, "pause": pauses, "empty": empties}


class Sabotage:
    """Counts batches that have records, and does harm once, at its moment."""

    def __init__(self, moment, batch, **act):
        self.moment, self.due, self.act = moment, batch, act
        self.batch = self.polled = self.decoded = 0

    def number_of(self, step):
        """Give the number of the batch that a step is at: the first two may be at the next one already."""
        return {"poll": self.polled + 1, "decode": self.decoded + 1}.get(step, self.batch)

    def reached(self, moment, number, instance):
        """Note a moment of a batch."""
        if moment == self.moment and number == self.due:
            get_logger().warning("test.sabotage", moment=moment, batch=number, **self.act)
            self.due = -1
            for name, argument in self.act.items():
                ACTS[name](instance, argument)

    def wrap(self, owner, method, step):
        """Have a method tell before and after itself."""
        original = getattr(owner, method)

        def wrapped(instance, *args, **kwargs):
            if step == "look up" and args[0]:
                self.batch += 1
            number = self.number_of(step)
            self.reached(f"before {step}", number, instance)
            result = original(instance, *args, **kwargs)
            if (step == "poll" and not result.records) or (step == "decode" and not result):
                return result  # no batch
            self.polled += step == "poll"
            self.decoded += step == "decode"
            self.reached(f"after {step}", number, instance)
            return result

        setattr(owner, method, wrapped)


def install(plan):
    """Put the moments in place."""
    sabotage = Sabotage(**plan)
    for step, method in STEPS.items():
        sabotage.wrap(Service, method, step)
    sabotage.wrap(ContactIndex, "existing", "owners")
    sabotage.wrap(Ledger, "_flush", "flush")
    sabotage.wrap(Transactions, "commit", "end")


if __name__ == "__main__":
    install(json.loads(os.environ["TEST_SABOTAGE"]))
    main()
