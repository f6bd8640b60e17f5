"""What a process holds at a moment: memory, open files, threads; and whether a line of such figures is flat."""

import itertools
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
_PROC = Path("/proc")


@dataclass(frozen=True)
class Held:
    """Resident memory in MiB; open files and threads where the system tells them."""

    rss_mib: float
    open_files: int | None
    threads: int | None


def held_by(pid):
    """Give what a process holds. Raises OSError or ValueError where there is no such process."""
    if not (_PROC / "self" / "statm").exists():
        shown = subprocess.run(("ps", "-o", "rss=", "-p", str(pid)), capture_output=True, text=True, check=False)
        return Held(int(shown.stdout) / 1024, None, None)
    folder = _PROC / str(pid)
    pages = int((folder / "statm").read_text(encoding="ascii").split()[1])
    return Held(pages * _PAGE_MIB, len(os.listdir(folder / "fd")), len(os.listdir(folder / "task")))  # noqa: PTH208


def fifths(figures):
    """Give the median of each fifth of a line of figures, in turn."""
    bounds = [len(figures) * part // 5 for part in range(6)]
    return [median(figures[start : max(end, start + 1)]) for start, end in itertools.pairwise(bounds)]


def slope(points):
    """Give the rise of (x, y) points for each x, as Theil and Sen do: the median of all pairs' slopes."""
    pairs = itertools.combinations(points, 2)
    return median((later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in pairs)
