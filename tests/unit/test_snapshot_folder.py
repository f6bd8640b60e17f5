"""Proves which folders snapshots are put into, which is current and kept, and when the next one is read whole."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from processor.errors import StopError, UsageError
from processor.kafka.cluster import Topic
from processor.settings import Settings
from processor.snapshots.engine import doing, library
from processor.snapshots.exporting import Plan, Sight, export, schemas, why_whole
from processor.snapshots.snapshot import (
    Manifest,
    ReadTopic,
    current_snapshot,
    put_in_place,
    require_snapshot,
    work_folder,
)

NOW = datetime(2026, 5, 14, 10, 11, tzinfo=UTC)
DAY_MS = 86_400_000


def manifest(**changes):
    """Give a manifest of a snapshot taken an hour ago."""
    fact_schema, contact_schema = schemas()
    made = Manifest(
        time=NOW - timedelta(hours=1),
        cluster_id="cluster",
        facts=ReadTopic("facts", "id of facts", {0: 10, 1: 0}),
        contacts=ReadTopic("contacts", "id of contacts", {0: 5}),
        fact_schema=fact_schema,
        contact_schema=contact_schema,
        personal=False,
        one_place_an_order=True,
        currencies=1,
        rows={"orders": 1, "items": 2, "contacts": 3},
    )
    return replace(made, **changes)


def plan(**changes):
    """Give the plan of the next snapshot, for which nothing is in the way."""
    facts = Sight(Topic("facts", "id of facts", 3), {0: 10, 1: 0, 2: 0}, {0: 12, 1: 0, 2: 7}, DAY_MS)
    contacts = Sight(Topic("contacts", "id of contacts", 1), {0: 0}, {0: 5}, DAY_MS)
    return replace(Plan(NOW, "cluster", facts, contacts, personal=False), **changes)


def put(folder, **changes):
    """Put an empty snapshot in place."""
    with work_folder(folder) as work:
        (work / "made").mkdir()
        return put_in_place(folder, work / "made", manifest(**changes))


def names(folder):
    """Give what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_nothing_in_the_way():
    """More records, and new partitions, are only read on."""
    assert why_whole(manifest(), plan()) is None


@pytest.mark.parametrize(
    ("before", "changes", "reason"),
    [
        ({"one_place_an_order": False}, {}, "orders have facts in several partitions"),
        ({"personal": True}, {}, "the snapshot before was made with --personal"),
        ({}, {"personal": True}, "the snapshot before was made without --personal"),
        ({"fact_schema": "order-fact.1"}, {}, "the schemas have changed"),
        ({"contact_schema": "contact.0"}, {}, "the schemas have changed"),
        ({}, {"cluster_id": "another"}, "is of another Kafka cluster"),
        ({"facts": ReadTopic("other", "id of facts", {})}, {}, "is of the topic other"),
        ({"contacts": ReadTopic("contacts", "former", {})}, {}, "the topic contacts was recreated"),
        ({"time": NOW - timedelta(hours=22)}, {}, "is older than deletions in facts are kept"),
        ({"time": NOW + timedelta(hours=1)}, {}, "is older than deletions in facts are kept"),
        ({"facts": ReadTopic("facts", "id of facts", {0: 13})}, {}, "the topic facts ends before"),
        ({"facts": ReadTopic("facts", "id of facts", {0: 12, 3: 1})}, {}, "the topic facts ends before"),
        ({"facts": ReadTopic("facts", "id of facts", {0: 9})}, {}, "records were deleted from the topic facts"),
    ],
)
def test_what_is_in_the_way(before, changes, reason):
    """Each gap has its own words."""
    assert reason in str(why_whole(manifest(**before), plan(**changes)))


def test_two_snapshots_are_kept(tmp_path):
    """The current one and the one before, also of numbers that are longer; what a killed run left goes."""
    folder = tmp_path / "a" / "folder"
    for number in range(1, 12):
        assert put(folder).number == number
        assert require_snapshot(folder).path == folder / str(number)
    assert names(folder) == [".lock", "10", "11", "current"]
    (folder / "11").rename(folder / "13")  # as if it was killed before `current` named it
    (folder / "current").unlink()
    (folder / "current").symlink_to("10")
    (folder / ".export").mkdir()
    (folder / ".current").symlink_to("13")
    assert put(folder).number == 14
    assert names(folder) == [".lock", "10", "14", "current"]


def test_current_without_links(tmp_path, monkeypatch):
    """Where there are no links it is a file that names the folder."""

    def refuse(_path, _target):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    for number in (1, 2):
        put(tmp_path)
        assert (tmp_path / "current").read_text() == f"{number}\n"
        assert require_snapshot(tmp_path).number == number


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("notes.txt", "{}"),
        ("7/orders.parquet", "{}"),
        ("1/manifest.json", "{}"),
        (".git/config", "{}"),
        (".export/mine.txt", "mine"),
        (".current", "mine"),
        (".lock", "mine"),
        ("current", "mine"),
        ("current", ""),
        ("current", "7\n"),
        ("current", "7" * 5000),
    ],
)
def test_a_folder_of_something_else_is_not_touched(tmp_path, entry, text):
    """It is refused, and nothing in it changes, also if it has a name that exports use."""
    (tmp_path / entry).parent.mkdir(exist_ok=True)
    (tmp_path / entry).write_text(text)
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    with (
        pytest.raises(UsageError, match=r"holds other files \(.*\) and no snapshot; nothing was changed"),
        work_folder(tmp_path),
    ):
        pass
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("entry", ["current", ".export/file", ".current"])
def test_what_a_killed_export_left_beside_its_lock_is_ours(tmp_path, entry):
    """Beside a lock it is one's own, and the next export goes on; a `current` that names no snapshot never is."""
    (tmp_path / entry).parent.mkdir(exist_ok=True)
    (tmp_path / entry).write_text("mine")
    (tmp_path / ".lock").touch()
    if entry == "current":
        with pytest.raises(UsageError, match=r"holds other files \(current\)"):
            put(tmp_path)
        assert (tmp_path / "current").read_text() == "mine"
        (tmp_path / "current").write_text("7\n")  # a snapshot that somebody removed
    assert put(tmp_path).number == 1
    assert names(tmp_path) == [".lock", "1", "current"]


def test_a_link_to_elsewhere_is_no_snapshot(tmp_path):
    """A `current` that does not name a number is not followed, even to a snapshot."""
    put(tmp_path / "one")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "current").symlink_to(tmp_path / "one" / "1")
    assert current_snapshot(tmp_path / "other") is None
    with pytest.raises(UsageError, match=r"holds other files \(current\)"):
        put(tmp_path / "other")
    assert (tmp_path / "other" / "current").readlink() == tmp_path / "one" / "1"


def test_other_files_beside_a_snapshot_stay(tmp_path):
    """A folder that holds a snapshot may hold other files too."""
    put(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "manifest.json").write_text("{}")
    assert (put(tmp_path).number, put(tmp_path).number) == (8, 9)
    assert names(tmp_path) == [".lock", "7", "8", "9", "current", "notes.txt"]


def test_a_file_is_no_folder(tmp_path):
    """It is refused in one line."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match=r"name a folder"), work_folder(path):
            pass


def test_two_exports_at_once(tmp_path):
    """The second is refused; the first one's work stays."""
    with work_folder(tmp_path) as work:
        (work / "file").touch()
        with pytest.raises(StopError, match="another `facts export` works in"), work_folder(tmp_path):
            pass
        assert (work / "file").exists()
    assert not work.exists()


@pytest.mark.parametrize(("text", "problem"), [("{", "manifest of this version: Input data"), ("", "its format is 1")])
def test_a_manifest_of_something_else(tmp_path, text, problem):
    """It is named, and nothing is changed."""
    snapshot = put(tmp_path)
    path = snapshot.path / "manifest.json"
    path.write_text(text or path.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(UsageError, match=problem), work_folder(tmp_path):
        pass
    assert names(tmp_path) == [".lock", "1", "current"]


def test_no_snapshot_yet(tmp_path):
    """Who asks for one is told how to make it."""
    assert current_snapshot(tmp_path / "none") is None
    with pytest.raises(UsageError, match=r"holds no snapshot; make one with: order-facts facts export "):
        require_snapshot(tmp_path)


def test_without_the_library(monkeypatch, tmp_path):
    """One line says what to install, before anything is done."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(UsageError, match=r"pip install 'order-facts\[segments\]'"):
        export(Settings(), tmp_path / "folder", lambda *_: None, full=False, personal=False)
    assert not (tmp_path / "folder").exists()


def test_refusals_of_the_disk_are_one_line():
    """Whether DuckDB or the file system refuses."""
    with pytest.raises(StopError, match=r"^writing x: No space left on device; see to the disk"), doing("writing x"):
        raise OSError(28, "No space left on device")
    with pytest.raises(StopError, match=r"^writing x: IO Error: disk$"), doing("writing x"):
        raise library().IOException("IO Error: disk\nand more")
