"""`order-facts segments publish` that signals itself at a named moment: `python -m tests.support.publish_saboteur`.

The environment variable TEST_SABOTAGE says when: {"moment": "after flush", "signal": "SIGKILL"}. Moments are "before"
and "after" one of these steps; after "flush" all records are on the broker, and the commit is not sent. The product
itself has no hooks.
"""

import json
import os
import signal

from processor.cli import main
from processor.kafka.deliveries import Deliveries
from processor.kafka.transactions import Transactions
from processor.membership.members_ledger import MembersLedger

STEPS = {
    "take over": (MembersLedger, "take_over"),
    "read": (MembersLedger, "held"),
    "flush": (Deliveries, "await_reports"),
    "commit": (Transactions, "commit"),
}
MOMENTS = ("after take over", "after read", "before flush", "after flush", "after commit")


def install(moment, signal_name):
    """Put the moment in place."""

    def reached(name):
        if name == moment:
            os.kill(os.getpid(), signal.Signals[signal_name])

    def wrap(step, owner, method):
        original = getattr(owner, method)

        def wrapped(*arguments, **options):
            reached(f"before {step}")
            result = original(*arguments, **options)
            reached(f"after {step}")
            return result

        setattr(owner, method, wrapped)

    for step, (owner, method) in STEPS.items():
        wrap(step, owner, method)


if __name__ == "__main__":
    plan = json.loads(os.environ["TEST_SABOTAGE"])
    install(plan["moment"], plan["signal"])
    main()
