"""`order-facts run` that signals itself at a named moment of a named batch: `python -m tests.support.saboteur`.

The environment variable TEST_SABOTAGE says when: {"moment": "after commit", "batch": 3, "signal": "SIGKILL"}.
Moments are "before" and "after" one of the six steps, and within step 5 "after flush" (the facts are
written, their offsets are not in the transaction) and "before end" (the offsets are, the commit is not sent).
The line `test.sabotage` in the log proves that the moment was reached. The product itself has no hooks.
"""

import json
import os
import signal

from processor.adapters.ledger import Ledger
from processor.cli import main
from processor.logs import get_logger
from processor.service import Service

STEPS = {
    "poll": "poll",
    "decode": "decode",
    "look up": "look_up",
    "fold": "fold",
    "commit": "commit",
    "mirror": "mirror",
}


class Sabotage:
    """Counts batches that have records, and signals this process once, at its moment."""

    def __init__(self, moment, batch, signal_name):
        self.moment, self.due, self.number = moment, batch, signal.Signals[signal_name]
        self.batch = 0

    def reached(self, moment):
        """Note a moment of the batch in hand."""
        if moment == self.moment and self.batch == self.due:
            get_logger().warning("test.sabotage", moment=moment, batch=self.batch, signal=self.number.name)
            self.due = -1
            os.kill(os.getpid(), self.number)

    def wrap(self, owner, method, step):
        """Have a method tell before and after itself."""
        original = getattr(owner, method)

        def wrapped(instance, *args, **kwargs):
            self.reached(f"before {step}")
            result = original(instance, *args, **kwargs)
            if step == "poll" and result:
                self.batch += 1
            self.reached(f"after {step}")
            return result

        setattr(owner, method, wrapped)


def install(plan):
    """Put the moments in place."""
    sabotage = Sabotage(plan["moment"], plan["batch"], plan["signal"])
    for step, method in STEPS.items():
        sabotage.wrap(Service, method, step)
    sabotage.wrap(Ledger, "_flush", "flush")
    sabotage.wrap(Ledger, "_commit", "end")


if __name__ == "__main__":
    install(json.loads(os.environ["TEST_SABOTAGE"]))
    main()
