"""`order-facts topics widen` that copies wrongly: `python -m tests.support.careless_copier`.

The environment variable TEST_CARELESS names what it does to the records of its second transaction.
"""

import itertools
import os

from msgspec.structs import replace

from processor.cli import main
from processor.widening import copy_session
from processor.widening.copy_ledger import CopyLedger


def dropped(records):
    """Leave out the first."""
    return records[1:]


def doubled(records):
    """Write the first twice."""
    return [records[0], *records]


def changed(records):
    """Change the value of the first."""
    return [replace(records[0], value=b"another"), *records[1:]]


def later(records):
    """Change the time of the first, to one that no event like it has."""
    return [replace(records[0], timestamp_ms=records[0].timestamp_ms + 3_600_000), *records[1:]]


def swapped(records):
    """Write the first one that has an other one of its order behind it, behind that."""
    ahead, behind = next(
        (one, other)
        for one, first in enumerate(records)
        for other, record in enumerate(records[one + 1 :], one + 1)
        if record.key == first.key and record.value != first.value
    )
    return [*records[:ahead], *records[ahead + 1 : behind + 1], records[ahead], *records[behind + 1 :]]


CARELESS = (dropped, doubled, changed, later, swapped)


def install(name):
    """Have the second transaction be written so."""
    act = next(act for act in CARELESS if act.__name__ == name)
    original, calls = CopyLedger._write, itertools.count(1)

    def written(ledger, records, places):
        return original(ledger, act(records) if next(calls) == 2 else records, places)

    vars(copy_session)["_RECORDS"] = 100
    CopyLedger._write = written  # type: ignore[method-assign]


if __name__ == "__main__":
    install(os.environ["TEST_CARELESS"])
    main()
