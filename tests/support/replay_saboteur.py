"""`order-facts rejected replay` that signals itself at a named moment: `python -m tests.support.replay_saboteur`.

The environment variable TEST_SABOTAGE says when, and how small the transactions are:
{"moment": "after write", "transaction": 2, "records": 40, "signal": "SIGKILL"}. Moments are, with transaction 0,
"before take over" (it has asked what was replayed, and has not fenced other runs yet); then "before note" (nothing
of the transaction has reached the broker), "after note" (its offsets have), "after write" (its records have, the
commit has not been sent) and "after end" (it is committed). The line `test.sabotage` proves that the moment was
reached. The product itself has no hooks.
"""

import json
import os
import signal

from processor.cli import main
from processor.kafka.transactions import Transactions
from processor.logs import get_logger
from processor.replay import replaying
from processor.replay.replay_ledger import ReplayLedger

STEPS = {
    "take over": (ReplayLedger, "take_over"),
    "note": (ReplayLedger, "_note"),
    "write": (ReplayLedger, "_write"),
    "end": (Transactions, "commit"),
}


class Sabotage:
    """Counts transactions, and signals this process once, at its moment."""

    def __init__(self, moment, transaction, signal_name, begins="before note"):
        self.moment, self.due, self.number = moment, transaction, signal.Signals[signal_name]
        self.begins = begins
        self.transaction = 0

    def reached(self, moment):
        """Note a moment of the transaction in hand."""
        self.transaction += moment == self.begins
        if moment == self.moment and self.transaction == self.due:
            get_logger().warning("test.sabotage", moment=moment, transaction=self.due, signal=self.number.name)
            self.due = -1
            os.kill(os.getpid(), self.number)

    def wrap(self, owner, method, step):
        """Have a method of the ledger, or of its transactions, tell before and after itself."""
        original = getattr(owner, method)

        def wrapped(one, *args):
            self.reached(f"before {step}")
            result = original(one, *args)
            self.reached(f"after {step}")
            return result

        setattr(owner, method, wrapped)


def install(plan):
    """Put the moments in place."""
    vars(replaying)["CHUNK_RECORDS"] = plan["records"]
    sabotage = Sabotage(plan["moment"], plan["transaction"], plan["signal"])
    for step, (owner, method) in STEPS.items():
        sabotage.wrap(owner, method, step)


if __name__ == "__main__":
    install(json.loads(os.environ["TEST_SABOTAGE"]))
    main()
