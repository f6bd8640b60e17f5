"""Holds RFM against a table that others published: 5,009 orders of 793 customers (tests/data/README.md)."""

import pytest

from processor.segments.snapshot_session import session
from tests.reference.segments import People
from tests.support.published_rfm import AS_OF, ZONE, published_orders, published_table
from tests.support.snapshots import facts_of, snapshot_of

QUERY = "SELECT contactId, recency, frequency, monetary, r, f, m FROM rfm(bins := 4) ORDER BY contactId"


def by_program(tmp_path):
    """Give what the program finds."""
    contact_ids = [row.contact_id for row in published_table()]
    snapshot = snapshot_of(tmp_path / "data", published_orders(), contact_ids)
    with session(snapshot, AS_OF, ZONE) as asked:
        return asked.rows(QUERY)


def by_reference(_):
    """Give what the reference finds."""
    contact_ids = [row.contact_id for row in published_table()]
    found = People(facts_of(published_orders()), contact_ids, AS_OF, ZONE).rfm(4)
    return sorted((contact, *row[:6]) for contact, row in found.items())


@pytest.mark.parametrize("found_by", [by_program, by_reference])
def test_published_table(tmp_path, found_by):
    """Recency, frequency and monetary of all 793 are the published ones, and so are the quartiles, read from 4 to 1.

    The rule that makes them equal: cuts at 1/4, 2/4 and 3/4 by `quantile_disc`, and a value that is equal to a cut is
    on its lower side. The table's authors interpolate between neighbours, which is the same here: of 793 = 4 x 198 + 1
    sorted values the 199th, 397th and 595th are the cuts, and there is nothing to interpolate. Of their classes 1 is
    the best, of our scores the greatest: a class is 5 - score, for all three.
    """
    found = found_by(tmp_path)
    assert [row[:4] for row in found] == [tuple(row[:4]) for row in published_table()]
    assert [tuple(5 - score for score in row[4:]) for row in found] == [row.quartiles for row in published_table()]
    assert len(found) == 793
