"""Snapshots in a folder: `DIR/<n>/` with the Parquet files and `manifest.json`; `DIR/current` says which one holds.

A snapshot is made in `DIR/.export/`, renamed to its number, and put in place by one rename of `current`: a link to its
folder, or where there are no links a file that holds its number. Whoever is killed at any point leaves the snapshot
before or the new one. The one before is kept, for whoever still reads it; earlier ones are removed.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from processor.errors import StopError, UsageError

MANIFEST: Final = "manifest.json"
CURRENT: Final = "current"
RECORDS: Final = ".contact-records.parquet"  # also of those that others replace (C1): what the next snapshot needs
STRANGERS: Final = (
    ".strangers.parquet"  # the contacts of orders that do not exist: few, so that nobody joins all of them
)
LINES: Final = ".lines.parquet"  # items, each with what questions ask of its order: no question joins the two
_FORMAT: Final = 2
_WORK: Final = ".export"
_NEXT: Final = ".current"
_LOCK: Final = ".lock"
_DIGITS: Final = 256  # no file's name is longer


class ReadTopic(msgspec.Struct, frozen=True, rename="camel"):
    """What a snapshot holds of a topic: everything below these ends, by partition."""

    name: str
    topic_id: str
    ends: dict[int, int]


class Manifest(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a snapshot was made from, and when its ends were taken. `rows` are counts by table.

    `one_place_an_order` is false if an order has facts in several partitions, or a fact names another partition than
    its own: no later snapshot can build on such a one. `currencies` counts those of all orders, none being one of them.
    """

    format: int = _FORMAT
    time: datetime
    cluster_id: str
    facts: ReadTopic
    contacts: ReadTopic
    fact_schema: str
    contact_schema: str
    personal: bool
    one_place_an_order: bool
    currencies: int
    rows: dict[str, int]


class Snapshot(msgspec.Struct, frozen=True):
    """A snapshot in place."""

    path: Path
    manifest: Manifest

    @property
    def number(self) -> int:
        """Its number: a later snapshot has a higher one."""
        return int(self.path.name)

    def file(self, table: str) -> Path:
        """Return where a table is."""
        return self.path / f"{table}.parquet"


def current_snapshot(folder: Path) -> Snapshot | None:
    """Return the snapshot that holds, None if there is none. Raises UsageError if it cannot be read."""
    current = folder / CURRENT
    try:
        name = _named(current)
        path = folder / name
        encoded = (path / MANIFEST).read_bytes() if _is_number(name) else None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{current} cannot be read: {error}") from error
    if encoded is None:
        return None
    try:
        return Snapshot(path, _manifest_of(encoded))
    except ValueError as error:
        raise UsageError(
            f"{path / MANIFEST} is not a manifest of this version: {error}; remove the folder {folder}, or name another"
        ) from error


def _named(current: Path) -> str:
    return str(current.readlink()) if current.is_symlink() else current.read_text("utf-8").strip()


def require_snapshot(folder: Path) -> Snapshot:
    """Return the snapshot that holds. Raises UsageError if there is none."""
    _require_plain(folder)
    found = current_snapshot(folder)
    if found is None:
        raise UsageError(f"{folder} holds no snapshot; make one with: order-facts facts export {folder}")
    return found


class FolderInUseError(StopError):
    """Another export works in the folder; it ends by itself."""

    waiting_for = "folder"


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder in which the next snapshot is made; what is left in it in the end is removed.

    Raises UsageError for a folder of something else, and FolderInUseError while another export works there.
    """
    _require_plain(folder)
    _require_own(folder)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    work = folder / _WORK
    try:
        _take(lock, folder)
        try:
            shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
            with _writing(work):
                work.mkdir()
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    finally:
        os.close(lock)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; name a folder that can be") from error


def put_in_place(folder: Path, made: Path, manifest: Manifest) -> Snapshot:
    """Make what is in a folder the current snapshot; remove all others but the one before it."""
    (made / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    for path in (*made.iterdir(), made):
        _sync(path)
    before = current_snapshot(folder)
    taken = [int(entry.name) for entry in folder.iterdir() if _is_number(entry.name)]  # perhaps by something else
    path = folder / str(max([0, *taken]) + 1)
    made.rename(path)
    _point_to(folder, path.name)
    for number in _numbers(folder):
        if number != int(path.name) and (before is None or number != before.number):
            shutil.rmtree(folder / str(number), ignore_errors=True)
    return Snapshot(path, manifest)


def _point_to(folder: Path, name: str) -> None:
    """Have `current` name another snapshot, by one rename."""
    (folder / _NEXT).unlink(missing_ok=True)
    try:
        (folder / _NEXT).symlink_to(name)
    except (OSError, NotImplementedError):  # no links here
        (folder / _NEXT).write_text(f"{name}\n", "utf-8")
        _sync(folder / _NEXT)
    _sync(folder)
    (folder / _NEXT).replace(folder / CURRENT)
    _sync(folder)


def _require_plain(folder: Path) -> None:
    """Raise UsageError for a path that DuckDB would take for a pattern of many, or cannot take at all."""
    path = str(folder.absolute())
    if set(path) & set("*?\\") or any("\ud800" <= letter <= "\udfff" for letter in path):
        raise UsageError(f"{path!r} has *, ? or a backslash in it, or is not UTF-8; name another folder")


def _require_own(folder: Path) -> None:
    """Raise UsageError for what is no folder, or one that holds other files and no snapshot."""
    try:
        entries = [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise UsageError(f"{folder} is a file; name a folder for the snapshots") from error
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}; name a folder that can be") from error
    if current_snapshot(folder) is not None:
        return
    if others := sorted({*entries} - _own(folder)):
        raise UsageError(
            f"{folder} holds other files ({others[0]}) and no snapshot; nothing was changed: name an empty folder, or "
            "one that does not exist yet"
        )


def _own(folder: Path) -> set[str]:
    """Return what exports left in a folder without a current snapshot: the work of a killed one has its lock beside it.

    Others may use the same names, so that none but a lock or a snapshot is a mark, and `current` has to name a number.
    """
    own = set(map(str, _numbers(folder)))
    lock, current = folder / _LOCK, folder / CURRENT
    if lock.is_file() and not lock.is_symlink() and not lock.stat().st_size:
        own.add(_LOCK)
    if own:
        own |= {_WORK, _NEXT}
        with suppress(OSError):
            own |= {CURRENT} if _is_number(_named(current)) else set()
    return own


def _numbers(folder: Path) -> list[int]:
    """Return the numbers of the snapshots there, in place or not. A numbered folder of something else is none."""
    found = []
    for path in folder.glob(f"*/{MANIFEST}"):
        if _is_number(path.parent.name):
            with suppress(OSError, ValueError):
                _manifest_of(path.read_bytes())
                found.append(int(path.parent.name))
    return found


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) < _DIGITS and str(int(name)) == name


def _manifest_of(encoded: bytes) -> Manifest:
    """Return a manifest. Raises ValueError for anything else, also for one of another format."""
    manifest = msgspec.json.decode(encoded, type=Manifest)
    if manifest.format != _FORMAT:
        raise ValueError(f"its format is {manifest.format}, not {_FORMAT}")
    return manifest


def _take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel frees it, however this process ends
    except OSError as error:
        raise FolderInUseError(
            f"another `facts export` works in {folder}; run it again when that one has ended"
        ) from error


def _sync(path: Path) -> None:
    """Have the disk hold a file, or a folder's names, also if the power fails."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
