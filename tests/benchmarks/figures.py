"""Sums over repetitions and over latencies."""

import math
import statistics


def spread(values):
    """Give median, least and greatest of the values that are there; None where none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"median": statistics.median(known), "min": min(known), "max": max(known)}


def spreads(runs):
    """Give the spread of every figure of some runs, each a dict of figures."""
    return {name: spread([run.get(name) for run in runs]) for name in runs[0]}


def percentile(ordered, share):
    """Give the least of the ordered values that is not below a share (0 to 1) of them: the nearest rank."""
    assert ordered, "no values"
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
