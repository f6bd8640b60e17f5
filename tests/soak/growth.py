"""Whether what a process holds grew: the level of its second fifth against that of the last."""

from tests.support.measuring import fifths, slope

ALLOWED_MIB = 10.0  # of memory, and besides:
ALLOWED_SHARE = 0.05
ALLOWED_COUNT = 2  # of open files or threads: a connection may be opened anew just then
SECONDS_AN_HOUR = 3_600.0
MOST_POINTS = 200  # of a slope, which looks at all pairs


class Line:
    """What one process held, sample by sample."""

    def __init__(self):
        self._samples = []

    @property
    def latest(self):
        """The last sample."""
        return self._samples[-1][1]

    def note(self, age_s, held):
        """Add a sample."""
        self._samples.append((age_s, held))

    def levels(self, name):
        """Give the medians of the fifths of a field of `Held`; None where the system does not tell it."""
        figures = [getattr(held, name) for _, held in self._samples]
        return None if None in figures else fifths(figures)

    def slope_mib_an_hour(self):
        """Give the slope of the memory after the first fifth."""
        after = self._samples[len(self._samples) // 5 :]
        points = [(age_s / SECONDS_AN_HOUR, held.rss_mib) for age_s, held in after[:: len(after) // MOST_POINTS + 1]]
        return slope(points)

    def summary(self):
        """Give the line's figures."""
        return {
            "rss_mib": [round(level, 1) for level in self.levels("rss_mib")],
            "slope_mib_an_hour": round(self.slope_mib_an_hour(), 2),
            "open_files": self.levels("open_files"),
            "threads": self.levels("threads"),
        }


def grown(name, line):
    """Give a sentence for each thing that grew beyond what is allowed; the first fifth is for warming up."""
    faults = []
    for thing, unit in (("rss_mib", "MiB"), ("open_files", "open files"), ("threads", "threads")):
        levels = line.levels(thing)
        if levels is None:
            continue
        before, after = levels[1], levels[-1]
        allowed = ALLOWED_MIB + ALLOWED_SHARE * before if thing == "rss_mib" else ALLOWED_COUNT
        if after - before > allowed:
            faults.append(f"{name}: from {before:.1f} to {after:.1f} {unit}, {allowed:.1f} more are allowed")
    return faults
