"""`order-facts facts export` that kills itself at a named moment: `python -m tests.support.export_saboteur`.

The environment variable TEST_SABOTAGE names one of `MOMENTS`. The product itself has no hooks.
"""

import os
import shutil
import signal
from pathlib import Path

from processor.cli import main
from processor.snapshots.merging import Merge
from processor.snapshots.staging import Staging

STEPS = {
    "staging": (Staging, "_write"),
    "orders": (Merge, "orders"),
    "numbering": (Path, "rename"),
    "linking": (Path, "replace"),
    "removing": (shutil, "rmtree"),
}
MOMENTS = (
    *("after staging", "after orders", "before numbering"),
    *("before linking", "after linking", "after removing"),
)


def install(wanted):
    """Put the moment in place."""
    has_numbered = False

    def reached(moment):
        # Before the new snapshot has its number, what is removed is an earlier run's work.
        if moment == wanted and (has_numbered or not moment.endswith("removing")):
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(step, owner, name):
        original = getattr(owner, name)

        def wrapped(*arguments, **options):
            nonlocal has_numbered
            reached(f"before {step}")
            result = original(*arguments, **options)
            has_numbered |= step == "numbering"
            reached(f"after {step}")
            return result

        setattr(owner, name, wrapped)

    for step, (owner, name) in STEPS.items():
        wrap(step, owner, name)


if __name__ == "__main__":
    install(os.environ["TEST_SABOTAGE"])
    main()
