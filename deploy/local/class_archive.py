"""The archive of a Java server's loaded classes, beside its jars: with it the server starts in half the time or less.

It is written once, by a server that is started for it and stopped. Java takes it only where the class path is the same
text as then, so servers name their jars relative to their own folder, by the link `libraries`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.local.programs import CACHE, locked

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploy.local.servers import EmbeddedServer

CLASS_ARCHIVE = "classes.jsa"
READ_CLASSES = f"-XX:SharedArchiveFile=libraries/{CLASS_ARCHIVE}"
WRITE_CLASSES = f"-XX:ArchiveClassesAtExit={CLASS_ARCHIVE}"
RECORD_S = 60.0  # a bound, not a wait: to stop and write takes some seconds


def link_libraries(folder: Path, libraries: Path) -> None:
    """Make the link by which a server in `folder` names its jars."""
    link = folder / "libraries"
    link.unlink(missing_ok=True)
    link.symlink_to(libraries)


def record_classes(libraries: Path, lock: str, recorder: Callable[[Path, Path], EmbeddedServer]) -> None:
    """Write the archive beside the jars, once, unless another process is first (`lock` is the lock's name).

    `recorder` gives the server, from its folder and the folder to remove if this process ends without stopping it.
    """
    archive = libraries / CLASS_ARCHIVE
    with locked(CACHE / lock), tempfile.TemporaryDirectory(dir=CACHE) as name:
        if archive.exists():
            return
        server = recorder(Path(name) / "recorder", Path(name))
        try:
            server.start()
        finally:
            is_whole = server.stop(RECORD_S)
        recorded = server.folder / CLASS_ARCHIVE
        if not is_whole:
            recorded.unlink(missing_ok=True)
        recorded.touch()  # a Java that cannot write an archive also ignores an empty one
        recorded.replace(archive)
