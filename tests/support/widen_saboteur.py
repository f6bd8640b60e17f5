"""`order-facts topics widen` that signals itself at a named moment: `python -m tests.support.widen_saboteur`.

The environment variable TEST_SABOTAGE says when, and how small the transactions are:
{"moment": "after write", "transaction": 2, "records": 40, "signal": "SIGKILL"}. Moments are, with transaction 0,
"before take over"; then "before write" (the transaction has begun), "after write" (its records have reached the
broker), "after note" (so have its offsets, the commit has not been sent) and "after end" (it is committed). The line
`test.sabotage` proves that the moment was reached. The product itself has no hooks.
"""

import json
import os

from processor.cli import main
from processor.kafka.transactions import Transactions
from processor.widening import copy_session
from processor.widening.copy_ledger import CopyLedger
from tests.support.replay_saboteur import Sabotage

STEPS = {
    "take over": (CopyLedger, "take_over"),
    "write": (CopyLedger, "_write"),
    "note": (CopyLedger, "_note"),
    "end": (Transactions, "commit"),
}
MOMENTS = ("before write", "after write", "after note", "after end")


def install(plan):
    """Put the moments in place."""
    vars(copy_session)["_RECORDS"] = plan["records"]
    sabotage = Sabotage(plan["moment"], plan["transaction"], plan["signal"], begins="before write")
    for step, (owner, method) in STEPS.items():
        sabotage.wrap(owner, method, step)


if __name__ == "__main__":
    install(json.loads(os.environ["TEST_SABOTAGE"]))
    main()
