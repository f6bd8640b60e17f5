"""`order-facts rejected replay --follow` that signals itself: `python -m tests.support.healer_saboteur`.

The environment variable TEST_SABOTAGE says when: {"moment": "after write", "time": 2, "signal": "SIGKILL", "records":
10, "quiet_s": 4.0, "most": 10}: the moment's how manieth time, how many records a transaction takes, for how long a
replay by hand must have noted nothing to have ended, 20 s in the program, and how many records it holds at most; each
may be left out. Moments are "before" and "after" each of
`STEPS`. The line `test.sabotage` proves that the moment was reached. The product itself has no hooks.
"""

import json
import os
import signal

from processor.cli import main
from processor.kafka.transactions import Transactions
from processor.logs import get_logger
from processor.replay import healer, healing, rejected_feed
from processor.replay.healing import Healing
from processor.replay.replay_ledger import ReplayLedger

STEPS = {
    "take over": (ReplayLedger, "take_over"),
    "open": (Healing, "_open"),
    "see": (Healing, "_see"),
    "look": (Healing, "_look"),
    "note": (ReplayLedger, "_note"),
    "write": (ReplayLedger, "_write"),
    "mark": (ReplayLedger, "_mark"),
    "end": (Transactions, "commit"),
}


def install(plan):
    """Put the moment in place."""
    vars(rejected_feed)["_AT_ONCE"] = plan.get("records", 1_000)
    if "most" in plan:
        vars(healing)["MOST_WAITING"] = plan["most"]
    if "quiet_s" in plan:
        vars(healer).update(_QUIET_S=plan["quiet_s"], _LOOK_EVERY_S=plan["quiet_s"] / 4)
    if "moment" not in plan:
        return
    when, step = plan["moment"].split(" ", 1)
    owner, method = STEPS[step]
    original, left = getattr(owner, method), plan["time"]

    def reached():
        nonlocal left
        left -= 1
        if left == 0:
            get_logger().warning("test.sabotage", moment=plan["moment"], signal=plan["signal"])
            os.kill(os.getpid(), signal.Signals[plan["signal"]])

    def wrapped(one, *args):
        if when == "before":
            reached()
        result = original(one, *args)
        if when == "after":
            reached()
        return result

    setattr(owner, method, wrapped)


if __name__ == "__main__":
    install(json.loads(os.environ["TEST_SABOTAGE"]))
    main()
