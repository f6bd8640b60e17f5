"""DuckDB as this program uses it: an extra, within bounds of memory. What fails is one line that says what to do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from processor.errors import StopError, UsageError

if TYPE_CHECKING:
    import duckdb

MEMORY = "1GB"  # of DuckDB; beyond it, it writes to the folder for what does not fit
_MOST_THREADS = 4  # each has buffers of its own


def library() -> Any:
    """Return the module `duckdb`. Raises UsageError if it is not installed."""
    try:
        import duckdb  # noqa: PLC0415 - an extra: needed only by the commands that ask for it
    except ImportError as error:
        raise UsageError(
            "this command needs the library duckdb; install it: pip install 'order-facts[segments]'"
        ) from error
    return duckdb


@contextmanager
def database(folder: Path) -> Iterator["duckdb.DuckDBPyConnection"]:
    """Give an empty database in a folder, which is the caller's to remove. Raises as `library` and `doing`."""
    config = {
        "memory_limit": MEMORY,
        "threads": str(min(_MOST_THREADS, os.cpu_count() or 1)),
        "temp_directory": str(folder / "spilled"),
        "preserve_insertion_order": "false",  # takes less memory; the order of rows says nothing
        "autoinstall_known_extensions": "false",  # nothing is downloaded
    }
    with doing(f"opening a database in {folder}"):
        connection = library().connect(str(folder / "tables.duckdb"), config=config)
        connection.execute("SET TimeZone = 'UTC'")  # not in `config`: before 2.0 the zones are loaded only after it
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Raise StopError, in one line, for what DuckDB or the file system refuses; `what` says what was being done."""
    try:
        yield
    except OSError as error:
        raise StopError(
            f"{what}: {error.strerror or error}; see to the disk and the rights, and run it again"
        ) from error
    except library().Error as error:
        reason = next(iter(str(error).splitlines()), "")
        raise StopError(f"{what}: {reason}") from error
