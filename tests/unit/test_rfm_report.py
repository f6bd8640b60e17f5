"""Proves `segments rfm` on small shops: the picture to the letter, rows for programs, and what it refuses."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import pytest
from click.testing import CliRunner

from processor.cli.rfm_picture import MEANINGS
from processor.cli.segments import segments
from processor.domain.records import Order
from processor.errors import UsageError
from processor.segments import snapshot_session as session_module
from processor.segments.rfm import GRID_DAYS, Total, scored
from processor.segments.snapshot_session import session
from processor.snapshots.snapshot import require_snapshot
from tests.support.published_rfm import AS_OF as PUBLISHED_AS_OF
from tests.support.published_rfm import published_orders, published_table
from tests.support.snapshots import snapshot_of

PACKAGE = Path(session_module.__file__).parent
AS_OF = datetime(2026, 11, 30, 12, tzinfo=UTC)
CONTACTS = ("ann", "bob", "cid", "dan", "eve", "fay")
BUYS = (
    *(("ann", days, "100") for days in (1, 20, 30)),
    ("bob", 15, "50.25"),
    ("cid", 16, "12345.6"),
    ("cid", 500, "0.4"),
    ("dan", 366, "5"),
    *(("eve", days, "-1") for days in range(60, 73)),
    ("nobody", 1, "10"),
)
SCORED = """\
RFM as of 2026-11-30 12:00:00+00:00
5 contacts with 20 sold orders: 12,688 UAH
Row 0: 1 contact without a sold order in UAH

          R 1      R 2      R 3      R 4      R 5
days      61+    17-60       16     2-15      0-1
FM 5

FM 4                    █     1           █     1
                        █ 12.3k           █   300
FM 3           █     1
               █   -13
FM 2  █     1                    █     1
      █     5                    █    50
FM 1

In each cell: contacts, and their UAH; from few contacts to many: · ░ ▒ ▓ █
FM is (F + M) / 2, halves up.

group               who bought           contacts  share    UAH  share days
Champions           often, much, lately         1  20.0%    300   2.4%    1
Loyal customers     often, not long ago         1  20.0% 12,346  97.3%   16
Potential loyalists lately, now and then        1  20.0%  50.25   0.4%   15
New customers       very lately, little         0   0.0%      0   0.0%    -
Promising           lately, little              0   0.0%      0   0.0%    -
Need attention      middling in all             0   0.0%      0   0.0%    -
About to sleep      little, a while ago         0   0.0%      0   0.0%    -
At risk             much, but long ago          1  20.0%    -13  -0.1%   60
Can't lose them     most, but long ago          0   0.0%      0   0.0%    -
Hibernating         little, and long ago        1  20.0%      5   0.0%  366
all                                             5 100.0% 12,688 100.0%   92
days: since the last sold order, on average

Cuts into 5 scores; a value that equals a cut is on its lower side
  recency:   1, 15, 16, 60 days
  frequency: 1, 1, 2, 3 orders
  monetary:  -13, 5, 50.25, 300 UAH
"""
GRID = """\
RF by fixed thresholds as of 2026-11-30 12:00:00+00:00
5 contacts with 20 sold orders: 12,688 UAH
Row 0: 1 contact without a sold order in UAH

          R 7      R 6      R 5      R 4      R 3      R 2      R 1
days     366+  181-365   91-180    61-90    31-60    16-30     0-15
F 11+                                     █     1
                                          █   -13
F 10

F 9

F 8

F 7

F 6

F 5

F 4

F 3                                                         █     1
                                                            █   300
F 2                                                █     1
                                                   █ 12.3k
F 1   █     1                                               █     1
      █     5                                               █    50
F 0         1  without a sold order
In each cell: contacts, and their UAH; from few contacts to many: · ░ ▒ ▓ █
F is the number of sold orders.
"""


def order(number, contact_id, days_ago, cost, currency="UAH"):
    """Give a sold order of so many days ago."""
    return Order(
        external_order_id=str(number),
        contact_id=contact_id,
        identified_by="email",
        status="DELIVERED",
        date_ms=int((AS_OF - timedelta(days=days_ago, seconds=days_ago == 0)).timestamp() * 1000),
        total_cost=int(Decimal(cost) * 10_000),
        event_type="orderDelivered",
        created_at_ms=0,
        updated_at_ms=0,
        status_changed_at_ms=0,
        revision=1,
        source_partition=0,
        source_offset=0,
        currency=currency,
    )


def made(folder, buys, contact_ids):
    """Put a snapshot in place; give its folder."""
    snapshot_of(folder, [order(number, *buy) for number, buy in enumerate(buys)], contact_ids)
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Give the folder of a snapshot of one currency."""
    return made(tmp_path_factory.mktemp("shop"), BUYS, CONTACTS)


def rfm(folder, *arguments, as_of=AS_OF):
    """Run the command; give what it printed."""
    given = ("rfm", "--data", folder, "--as-of", as_of.isoformat(), *arguments)
    done = CliRunner().invoke(segments, list(map(str, given)), standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.stdout


@pytest.mark.parametrize(("arguments", "picture"), [((), SCORED), (("--grid",), GRID)])
def test_picture(shop, arguments, picture):
    """To the letter, as a pipe gets it: no colours, 80 columns."""
    assert rfm(shop, *arguments) == picture
    assert rfm(shop, *arguments, "--currency", "UAH") == picture


def test_rows(shop):
    """Every contact that exists, by its id; who has no sold order has an empty recency, zeros, and no group."""
    assert rfm(shop, "--format", "csv").splitlines() == [
        "contactId,recency,frequency,monetary,r,f,m,group",
        "ann,1,3,300.0000,5,4,4,Champions",
        "bob,15,1,50.2500,4,1,3,Potential loyalists",
        "cid,16,2,12346.0000,3,3,5,Loyal customers",
        "dan,366,1,5.0000,1,1,2,Hibernating",
        "eve,60,13,-13.0000,2,5,1,At risk",
        "fay,,0,0.0000,0,0,0,",
    ]
    lines = [json.loads(line) for line in rfm(shop, "--format", "jsonl", "--bins", "2").splitlines()]
    ann = {"contactId": "ann", "recency": 1, "frequency": 3, "monetary": "300.0000"}
    fay = {"contactId": "fay", "recency": None, "frequency": 0, "monetary": "0.0000"}
    assert lines[0] == ann | {"r": 2, "f": 2, "m": 2, "group": "Champions"}
    assert lines[-1] == fay | {"r": 0, "f": 0, "m": 0, "group": None}
    assert rfm(shop, "--grid", "--format", "csv").splitlines() == [
        "contactId,recency,frequency,monetary,r,f",
        "ann,1,3,300.0000,1,3",
        "bob,15,1,50.2500,1,1",
        "cid,16,2,12346.0000,2,2",
        "dan,366,1,5.0000,7,1",
        "eve,60,13,-13.0000,3,11",
        "fay,,0,0.0000,,0",
    ]
    assert json.loads(rfm(shop, "--grid", "--format", "jsonl").splitlines()[-1]) == fay | {"r": None, "f": 0}


def test_the_documents_picture(tmp_path):
    """The README shows what the command prints for the published table, and the group of all scores."""
    page = (PACKAGE / "README.md").read_text("utf-8")
    snapshot_of(tmp_path, published_orders(), [row.contact_id for row in published_table()])
    assert f"```\n{rfm(tmp_path, as_of=PUBLISHED_AS_OF)}```\n" in page
    with asked(tmp_path) as session_of_table:
        found = dict(
            session_of_table.rows(
                "SELECT v, list(_group(r, v) ORDER BY r) FROM range(1, 6) AS a(r), range(1, 6) AS b(v) GROUP BY v"
            )
        )
    for value, names in found.items():
        assert f"| **FM {value}** | {' | '.join(names)} |" in page


def test_grid_thresholds(tmp_path):
    """A contact is in the cell of a threshold's days, and a day later in the next; the picture's heads say the same."""
    days = [0, *(days + more for days in GRID_DAYS for more in (0, 1))]
    buys = [(f"c{number:02}", one, "1") for number, one in enumerate(days)]
    folder = made(tmp_path, buys, [contact_id for contact_id, *_ in buys])
    cells = [line.split(",")[4] for line in rfm(folder, "--grid", "--format", "csv").splitlines()[1:]]
    assert cells == ["1", "1", "2", "2", "3", "3", "4", "4", "5", "5", "6", "6", "7"]


def test_each_score_has_a_group_and_each_group_a_meaning(shop):
    """The groups of the SQL are those of the picture, and no scores are without one."""
    with asked(shop) as session_of_shop:
        ((names,),) = session_of_shop.rows("SELECT _group_names()")
        found = session_of_shop.rows("SELECT DISTINCT _group(r, v) FROM range(1, 6) AS a(r), range(1, 6) AS b(v)")
    assert names == [*MEANINGS]
    assert {name for (name,) in found} == {*names}
    assert all(len(meaning.split()) <= 5 for meaning in MEANINGS.values())


def asked(folder):
    """Open a session as the command does."""
    return session(require_snapshot(folder), AS_OF, ZoneInfo("UTC"))


@pytest.mark.parametrize("bins", [1, 2, 8, 9, 1000])
def test_many_bins(shop, bins):
    """Up to eight are drawn as they are, more as fifths; cells and groups add up to all."""
    with asked(shop) as session_of_shop:
        found = scored(session_of_shop, bins, None)
    for part in (found.cells, found.groups):
        together = Total()
        for total in part.values():
            together = together.plus(total)
        assert together == found.population.total
    steps = bins if bins <= 8 else 5
    assert found.steps == steps
    assert {number for cell in found.cells for number in cell} <= {*range(1, steps + 1)}
    drawn = rfm(shop, "--bins", bins)
    assert (f"R, F and M are fifths of {bins} scores here" in drawn) == (bins > 8)
    assert f"Cuts into {bins:,} score" in drawn
    assert len(found.cuts.recency) == len(found.cuts.frequency) == len(found.cuts.monetary) == bins - 1


@pytest.mark.parametrize(
    ("buys", "contacts", "lines"),
    [
        ((), (), ["No sold order before that: nothing to draw", "Row 0: 0 contacts without a sold order"]),
        (
            (("nobody", 1, "1"), ("ann", -1, "1")),
            ("ann", "bob"),
            ["No sold order before that: nothing to draw", "Row 0: 2 contacts without a sold order"],
        ),
    ],
)
def test_nothing_to_draw(tmp_path, buys, contacts, lines):
    """No contact, or no sold order yet: a picture that says so, and rows of the contacts there are."""
    folder = made(tmp_path, buys, contacts)
    for arguments in ((), ("--grid",), ("--bins", "1000")):
        assert rfm(folder, *arguments).splitlines()[1:] == lines
    assert [line.split(",")[0] for line in rfm(folder, "--format", "csv").splitlines()] == ["contactId", *contacts]
    assert rfm(folder, "--format", "jsonl", "--grid").count("\n") == len(contacts)


def test_several_currencies(tmp_path):
    """All ways of asking refuse to add them up, and name them with the option; one that is named counts alone."""
    odd = "U\x1bSD it's"
    buys = (("ann", 1, "1"), ("ann", 2, "2", "EUR"), ("bob", 3, "3", None), ("bob", 4, "4", odd))
    folder = made(tmp_path, buys, ("ann", "bob"))
    for arguments in ((), ("--grid",), ("--format", "csv"), ("--format", "jsonl", "--grid")):
        with pytest.raises(UsageError, match=r"several currencies: '', EUR, ") as refused:
            rfm(folder, *arguments)
        assert str(refused.value).endswith("; name one of them: --currency UAH")
        assert str(refused.value).isprintable()
    rows = [line.split(",")[:4] for line in rfm(folder, "--format", "csv", "--currency", "EUR").splitlines()[1:]]
    assert rows == [["ann", "2", "1", "2.0000"], ["bob", "", "0", "0.0000"]]
    assert "1 contact with 1 sold order: 3 money\n" in rfm(folder, "--currency", "")
    drawn = rfm(folder, "--currency", odd)
    assert drawn.replace("\n", "").isprintable()
    assert '1 contact without a sold order in "U\\x1bSD it\'s"\n' in drawn
    nothing = rfm(folder, "--currency", "GBP").splitlines()
    assert nothing[1] == "No sold order in GBP before that: nothing to draw"
    assert nothing[2].startswith("Sold orders are in: '', EUR, \"U\\x1bSD it's\", UAH")
    assert nothing[3] == "Row 0: 2 contacts without a sold order in GBP"


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("--bins", "0"), click.UsageError, "0 is not in the range 1<=x<=1000"),
        (("--bins", "2000"), click.UsageError, "2000 is not in the range 1<=x<=1000"),
        (("--bins", "x"), click.UsageError, "'x' is not a valid integer"),
        (("--bins", "4", "--grid"), UsageError, "--grid and --bins contradict each other"),
        (("--as-of", "soon"), UsageError, "soon is no moment"),
        (("--data", "nowhere"), UsageError, "nowhere holds no snapshot"),
    ],
)
def test_refused(shop, arguments, error, says):
    """Each in one line that says what is wrong."""
    with pytest.raises(error, match=re.escape(says)):
        rfm(shop, *arguments)
