"""Proves where lines are read from: files that grow, turn and shrink under their names, packed ones, and pipes."""

import gzip
import os
import threading
from contextlib import ExitStack

import pytest

from processor.errors import StopError, UsageError
from processor.watching.tailing import (
    LONGEST_LINE_BYTES,
    Lines,
    lines_as_they_come,
    lines_to_the_end,
    sources,
)


@pytest.fixture
def log(tmp_path):
    """Give a log file of two lines."""
    file = tmp_path / "a.log"
    file.write_bytes(b"1\n2\n")
    return file


def come(read_from):
    """Give the lines that are there now, after as many looks as a turn of the file may take."""
    return [line for _ in range(4) for line in lines_as_they_come(read_from, 0)]


def append(file, content):
    """Write to the end of a file."""
    with file.open("ab") as opened:
        opened.write(content)


def whole(*names):
    """Give all lines of files, up to their present end."""
    with sources([str(name) for name in names]) as read_from:
        return [line for lines in lines_to_the_end(read_from) for line in lines]


@pytest.fixture
def follow():
    """Give what opens sources until the test ends."""
    with ExitStack() as opened:
        yield lambda *names, **options: opened.enter_context(sources([str(name) for name in names], **options))


def test_a_file_that_grows_is_followed(log, follow):
    """What is appended comes, a line that is not ended yet only once it is."""
    read_from = follow(log)
    assert come(read_from) == [b"1", b"2"]
    append(log, b"3\n4")
    assert come(read_from) == [b"3"]
    append(log, b"4\n")
    assert come(read_from) == [b"44"]


def test_a_rotated_file_is_read_to_its_end_and_the_new_one_from_its_beginning(log, follow):
    """Lines that come to the old file after it was renamed are not lost, and a time without a file is no error."""
    read_from = follow(log)
    come(read_from)
    old = log.rename(log.with_suffix(".1"))
    append(old, b"3\n")
    assert come(read_from) == [b"3"]
    append(old, b"4\ntorn")
    log.write_bytes(b"5\n")
    assert come(read_from) == [b"4", b"torn", b"5"]
    append(log, b"6\n")
    assert come(read_from) == [b"6"]


def test_a_truncated_file_is_read_from_its_beginning(log, follow):
    """As logrotate's copytruncate leaves it."""
    read_from = follow(log)
    come(read_from)
    log.write_bytes(b"3\n")
    assert come(read_from) == [b"3"]


def test_what_rotation_gives_another_name_is_not_read_twice(log, follow):
    """With both names followed, the old lines do not come again under the second one, at no turn."""
    old = log.with_suffix(".1")
    old.write_bytes(b"0\n")
    read_from = follow(old, log)
    assert come(read_from) == [b"0", b"1", b"2"]
    for turn in (b"3", b"4"):
        append(log, turn + b" old\n")
        log.rename(old)
        log.write_bytes(turn + b" new\n")
        assert come(read_from) == [turn + b" old", turn + b" new"]


def test_a_name_given_twice_is_read_once(log, tmp_path):
    """Also by another name of the same file."""
    link = tmp_path / "link.log"
    link.symlink_to(log)
    assert whole(log, log, link) == [b"1", b"2"]


def test_a_large_file_is_followed_from_near_its_end(tmp_path, follow):
    """A live view begins a given number of bytes before the end, at the next whole line."""
    file = tmp_path / "a.log"
    file.write_bytes(b"".join(b"%06d\n" % number for number in range(1_000)))
    assert come(follow(file, backlog_bytes=24)) == [b"000997", b"000998", b"000999"]


def test_a_packed_file_is_read_as_its_content(tmp_path, log):
    """A file that gzip packed is known by its first bytes, whatever its name; one that is cut off is said to be."""
    packed = tmp_path / "a.log.2"
    packed.write_bytes(gzip.compress(b"0\nlast"))
    assert whole(packed, log) == [b"0", b"last", b"1", b"2"]
    packed.write_bytes(gzip.compress(os.urandom(9_000))[:-20])
    with pytest.raises(StopError, match=r"a\.log\.2: cannot be unpacked"):
        whole(packed)


def test_a_named_pipe_is_read_until_nobody_writes(tmp_path, log, follow):
    """As a shell's <(command) is one; its last line may lack its end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"x\ny",))
    writer.start()
    read_from = follow(pipe, log)
    found = []
    while not read_from[0].has_ended:
        found += lines_as_they_come(read_from, 10)
    writer.join()
    assert sorted(found) == [b"1", b"2", b"x", b"y"]


def test_an_endless_line_takes_bounded_memory():
    """Of a line beyond the limit only a beginning is kept, and the next one is whole."""
    lines, found = Lines(), []
    for _ in range(3):
        found += lines.add(b"x" * LONGEST_LINE_BYTES)
    found += lines.add(b"rest\nnext\n")
    assert [len(line) for line in found] == [2 * LONGEST_LINE_BYTES, 4]
    assert lines.end() == []


NAMES = {
    "nowhere.log": "nowhere.log: there is no such file",
    ".": "is a folder; name its files",
    "loop.log": "loop.log: Too many levels of symbolic links",
}


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_read_is_one_line(tmp_path, name):
    """A missing file, a folder, a link to itself: wrong usage, by name."""
    (tmp_path / "loop.log").symlink_to(tmp_path / "loop.log")
    with pytest.raises(UsageError, match=NAMES[name]) as caught, sources([str(tmp_path / name)]):
        pass
    assert "\n" not in str(caught.value)


def test_a_turn_to_what_cannot_be_read_is_one_line(log):
    """The program does not go on as if the old file were still the log."""
    with sources([str(log)]) as read_from:
        come(read_from)
        log.unlink()
        log.symlink_to(log)
        with pytest.raises(StopError, match=r"a\.log: Too many levels of symbolic links"):
            come(read_from)
