"""Holds the clock of the conditions against zoneinfo, whatever DuckDB's own table of zones says."""

import random
from datetime import UTC, datetime, timedelta
from importlib import resources
from zoneinfo import ZoneInfo

import pytest

from processor.segments.clocks import clock_of
from processor.segments.moments import moment_of
from processor.segments.snapshot_session import session
from tests.support.snapshots import snapshot_of
from tests.unit.test_condition_examples import made

ZONES = (
    *("America/Edmonton", "America/Havana", "America/Vancouver", "America/Sao_Paulo", "America/Anchorage"),
    *("Africa/Casablanca", "Africa/Cairo", "Asia/Gaza", "Asia/Manila", "Atlantic/Azores", "Antarctica/Troll"),
    *("Australia/Lord_Howe", "Europe/Dublin", "Europe/Lisbon", "Pacific/Apia", "Pacific/Kwajalein", "UTC"),
)
AROUND = [timedelta(seconds=seconds) for seconds in (-90_000, -7_201, -3_600, -1, 0, 1, 1_800, 3_599, 7_200, 90_000)]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    """Give a snapshot of two orders: at one half of an hour, and at the other."""
    orders = [
        made("b1", "ann", "DELIVERED", "2026-10-22 07:30"),
        made("b2", "bob", "DELIVERED", "2026-10-22 08:00"),
    ]
    return snapshot_of(tmp_path_factory.mktemp("clocks") / "data", orders, ["ann", "bob"])


def borrowed(key, name):
    """Give a zone of a name with the changes of another."""
    folder, _, file = key.rpartition("/")
    with resources.files(f"tzdata.zoneinfo.{folder.replace('/', '.')}").joinpath(file).open("rb") as stream:
        return ZoneInfo.from_file(stream, key=name)


@pytest.mark.parametrize("name", ZONES)
def test_every_change_of_a_zone(snapshot, name):
    """Around each change, and at random times, moments and what the clock shows are those of zoneinfo."""
    zone = ZoneInfo(name)
    source = random.Random(name)
    changes = clock_of(zone, 2026).changes
    moments = [change + more for change in changes for more in AROUND]
    moments += [datetime(1800, 1, 1, tzinfo=UTC) + timedelta(minutes=source.randrange(157_000_000)) for _ in range(500)]
    shown = [moment.astimezone(zone).replace(tzinfo=None, fold=0) for moment in moments]
    walls = shown + [wall + timedelta(minutes=source.choice((-90, -60, -30, 30, 60, 1440))) for wall in shown]
    with session(snapshot, datetime(2026, 12, 1, tzinfo=UTC), zone) as asked:
        values = {"moments": moments}
        rows = asked.rows("SELECT _wall(moment) FROM (SELECT unnest($moments) AS moment)", values)
        assert [wall for (wall,) in rows] == shown
        rows = asked.rows("SELECT epoch_us(_moment(wall)) FROM (SELECT unnest($walls) AS wall)", {"walls": walls})
    meant = [wall.replace(tzinfo=zone).astimezone(UTC) for wall in walls]
    micros = [(moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for moment in meant]
    assert [moment for (moment,) in rows] == micros


@pytest.mark.parametrize(("key", "expected"), [("America/Vancouver", None), ("Europe/London", 0), ("Europe/Berlin", 1)])
def test_one_table_decides(snapshot, key, expected):
    """As-of and windows agree, also where DuckDB has other changes of a zone: here it has those of Vancouver."""
    zone = ZoneInfo(key) if expected is None else borrowed(key, "America/Vancouver")
    as_of = moment_of("2026-12-01", zone)
    begin = datetime(2026, 10, 22, tzinfo=zone)
    if expected is not None:
        assert as_of == datetime(2026, 12, 1, tzinfo=UTC) - timedelta(hours=expected)
    with session(snapshot, as_of, zone) as asked:
        assert asked.rows("SELECT _window_start(40) = $begin", {"begin": begin.astimezone(UTC)}) == [(True,)]
        orders = {"ann": datetime(2026, 10, 22, 7, 30, tzinfo=UTC), "bob": datetime(2026, 10, 22, 8, tzinfo=UTC)}
        assert asked.members("FROM ordered(days := 40)") == [who for who, when in orders.items() if when >= begin]
        days = {who: (as_of - when) // timedelta(days=1) for who, when in orders.items()}
        if expected is None:
            days = {who: 40 if when <= begin else 39 for who, when in orders.items()}
        assert dict(asked.rows("SELECT contactId, recency FROM rfm()")) == days


def test_far_years(snapshot):
    """A moment beyond 2100 has its changes, too."""
    zone = ZoneInfo("Europe/Berlin")
    for as_of in (moment_of("2451-07-01", zone), moment_of("9997-07-01", zone)):
        with session(snapshot, as_of, zone) as asked:
            found = asked.rows("SELECT _wall(as_of()) = $wall", {"wall": as_of.astimezone(zone).replace(tzinfo=None)})
        assert found == [(True,)]
