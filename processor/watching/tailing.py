"""Where lines come from: files that grow, are rotated or truncated, as `tail -F` reads them, and pipes.

A file is known by its place on the disk, not by its name, so that one that was read is not read again under the name
that rotation gives it. Memory is bounded: a line has at most a mebibyte, and what is longer counts as one line, without
its rest.
"""

import gzip
import io
import os
import select
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from processor.errors import StopError, UsageError

STANDARD_INPUT: Final = "-"
LONGEST_LINE_BYTES: Final = 1 << 20
BACKLOG_BYTES: Final = 32 << 20
_CHUNK_BYTES: Final = 256 << 10
_GZIP: Final = b"\x1f\x8b"
_Id = tuple[int, int]  # a file's device and inode


class Lines:
    """Cuts what is read into lines."""

    def __init__(self, *, skips_first: bool = False) -> None:
        self._rest = b""
        self._is_skipping = skips_first  # up to the end of this line

    def add(self, chunk: bytes) -> list[bytes]:
        """Return the lines that a chunk ends."""
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        if self._is_skipping and lines:
            del lines[0]
            self._is_skipping = False
        if self._is_skipping:
            self._rest = b""
        elif len(self._rest) > LONGEST_LINE_BYTES:
            lines.append(self._rest)
            self._rest, self._is_skipping = b"", True
        return lines

    def end(self) -> list[bytes]:
        """Return the last line, which nothing ended, if there is one."""
        rest, self._rest, self._is_skipping = self._rest, b"", False
        return [rest] if rest else []


class Pipe:
    """Standard input, or a pipe by name; it ends when nobody writes to it any longer."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.has_ended = False
        self._lines = Lines()

    def read(self) -> list[bytes]:
        """Return the lines of what is there; it waits if nothing is."""
        chunk = os.read(self.descriptor, _CHUNK_BYTES)
        self.has_ended = not chunk
        return self._lines.add(chunk) if chunk else self._lines.end()

    def close(self) -> None:
        """Close this end."""
        os.close(self.descriptor)


class Packed:
    """A file that gzip packed: it does not grow."""

    def __init__(self, name: str) -> None:
        self.has_ended = False
        self._name = name
        self._file = gzip.open(name)  # noqa: SIM115 - read chunk by chunk
        self._lines = Lines()

    def read(self) -> list[bytes]:
        """Return the next lines."""
        if self.has_ended:
            return []
        try:
            chunk = self._file.read(_CHUNK_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            raise StopError(f"{self._name}: cannot be unpacked: {error}") from error
        self.has_ended = not chunk
        return self._lines.add(chunk) if chunk else self._lines.end()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Followed:
    """A file by its name. `known` is shared by all: how far each file on the disk was read; `held`, which are open."""

    has_ended = False

    def __init__(self, name: str, backlog_bytes: int | None, known: dict[_Id, int], held: set[_Id]) -> None:
        self._name, self._known, self._held = name, known, held
        self._file, status = _opened(name)
        self._id = _id_of(status)
        held.add(self._id)
        skipped = 0 if backlog_bytes is None else max(0, status.st_size - backlog_bytes)
        self._file.seek(skipped)
        self._lines = Lines(skips_first=skipped > 0)

    def read(self) -> list[bytes]:
        """Return the next lines; none if there are none yet. Continues with the file that took this one's name.

        Raises StopError if that cannot be read.
        """
        if chunk := self._chunk():
            return self._lines.add(chunk)
        try:
            now = Path(self._name).stat()
            if _id_of(now) != self._id:
                return self._turn()
        except FileNotFoundError:
            return []  # between two files of a rotation
        except OSError as error:
            raise StopError(f"{self._name}: {error.strerror}") from error
        if now.st_size < self._file.tell():
            self._file.seek(0)
            return self._lines.end()
        return []

    def end(self) -> list[bytes]:
        """Return the last line, which nothing ended yet."""
        return self._lines.end()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _chunk(self) -> bytes:
        chunk = self._file.read(_CHUNK_BYTES)
        self._known[self._id] = self._file.tell()
        return chunk or b""

    def _turn(self) -> list[bytes]:
        """Go on with the file that has the name now, once the old one is read to its end and nobody else reads it."""
        if chunk := self._chunk():  # written between the last look and the new file
            return self._lines.add(chunk)
        file, status = _opened(self._name)
        new_id = _id_of(status)
        if new_id in self._held:
            file.close()
            return []
        if not os.fstat(self._file.fileno()).st_nlink:  # another file may get its place
            del self._known[self._id]
        self._held.remove(self._id)
        self._held.add(new_id)
        self._file.close()
        self._file, self._id = file, new_id
        read_bytes = self._known.get(new_id, 0)
        file.seek(read_bytes if read_bytes <= status.st_size else 0)
        return self._lines.end()


Source = Followed | Packed | Pipe


@contextmanager
def sources(names: Sequence[str], backlog_bytes: int | None = None) -> Iterator[list[Source]]:
    """Give what is behind names, each file once; large ones from `backlog_bytes` before their end on.

    Raises UsageError for a name that cannot be opened.
    """
    known: dict[_Id, int] = {}
    held: set[_Id] = set()
    found: dict[_Id, Source] = {}
    with ExitStack() as opened:
        for name in names:
            try:
                status = os.fstat(0) if name == STANDARD_INPUT else Path(name).stat()
                if (place := _id_of(status)) not in found:
                    found[place] = opened.enter_context(closing(_source(name, status, backlog_bytes, known, held)))
            except FileNotFoundError as error:
                raise UsageError(f"{name}: there is no such file") from error
            except OSError as error:
                raise UsageError(f"{name}: {error.strerror}") from error
        yield list(found.values())


def _source(
    name: str, status: os.stat_result, backlog_bytes: int | None, known: dict[_Id, int], held: set[_Id]
) -> Source:
    if name == STANDARD_INPUT:
        return Pipe(os.dup(0))
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{name}: is a folder; name its files")
    if not stat.S_ISREG(status.st_mode):
        return Pipe(os.open(name, os.O_RDONLY))
    with Path(name).open("rb") as file:
        is_packed = file.read(len(_GZIP)) == _GZIP
    return Packed(name) if is_packed else Followed(name, backlog_bytes, known, held)


def _opened(name: str) -> tuple[io.FileIO, os.stat_result]:
    file = io.FileIO(name)
    return file, os.fstat(file.fileno())


def _id_of(status: os.stat_result) -> _Id:
    return status.st_dev, status.st_ino


def lines_to_the_end(read_from: Sequence[Source]) -> Iterator[list[bytes]]:
    """Yield the lines of each source up to its present end, one after the other."""
    for source in read_from:
        while not source.has_ended:
            lines = source.read()
            if not lines and isinstance(source, Followed):
                break
            yield lines
        if isinstance(source, Followed):
            yield source.end()


def lines_as_they_come(read_from: Sequence[Source], timeout_s: float) -> list[bytes]:
    """Return the next lines of all sources; if there are none, wait for those of pipes, at most `timeout_s`."""
    pipes = [source for source in read_from if isinstance(source, Pipe) and not source.has_ended]
    lines = [line for source in read_from if not isinstance(source, Pipe) for line in source.read()]
    ready, _, _ = select.select([pipe.descriptor for pipe in pipes], [], [], 0 if lines else timeout_s)
    for pipe in pipes:
        if pipe.descriptor in ready:
            lines += pipe.read()
    return lines
