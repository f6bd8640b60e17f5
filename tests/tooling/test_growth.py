"""What the soak takes for growth, and what for noise."""

import os
import random

from tests.soak.growth import Line, grown
from tests.support.measuring import Held, fifths, held_by, slope


def line_of(rss_mib, open_files=20, threads=5):
    """Give the line of a process by functions of its age in seconds; a number stands for itself."""
    line = Line()
    for age_s in range(0, 1_800, 5):
        held = [level(age_s) if callable(level) else level for level in (rss_mib, open_files, threads)]
        line.note(float(age_s), Held(*held))
    return line


def test_a_warm_up_and_noise_are_no_growth():
    """Memory that rises at the start and then goes up and down by 8 MiB is flat."""
    source = random.Random(1)
    line = line_of(lambda age_s: min(age_s, 300) / 10 + source.uniform(50, 58))
    assert grown("a", line) == []
    assert abs(line.slope_mib_an_hour()) < 4


def test_a_leak_is_growth_and_its_slope_is_told():
    """60 MiB an hour are seen in half an hour, under noise and spikes; so are files and threads left open."""
    source = random.Random(1)
    line = line_of(lambda age_s: 50 + age_s / 60 + source.choice((0, 1, 2, 40)), lambda age_s: 20 + age_s // 300)
    assert [fault.split(",")[0] for fault in grown("a", line)] == [
        f"a: from {line.levels('rss_mib')[1]:.1f} to {line.levels('rss_mib')[-1]:.1f} MiB",
        "a: from 21.0 to 25.0 open files",
    ]
    assert 45 < line.slope_mib_an_hour() < 75
    assert grown("a", line_of(50.0, threads=lambda age_s: 5 + age_s // 300)) == [
        "a: from 6.0 to 10.0 threads, 2.0 more are allowed"
    ]


def test_what_a_process_holds_is_told():
    """This very process has memory, and where the system tells them files and threads; fifths and slope are exact."""
    held = held_by(os.getpid())
    assert held.rss_mib > 5
    assert held.open_files is None or held.open_files >= 3
    assert held.threads is None or held.threads >= 1
    assert fifths(list(range(10))) == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert slope([(0, 1), (1, 3), (2, 5), (3, 1_000), (4, 9)]) == 2
