"""How much memory this process holds."""

import resource
import sys
from pathlib import Path


def rss_bytes() -> int:
    """Return the memory that this process holds now; if the system does not report that, the most it ever held."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
