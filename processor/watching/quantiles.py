"""Quantiles of any number of values in bounded memory: a histogram whose buckets grow by a factor.

After "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees" (Masson, Rim, Lee, 2019),
with the range of values bounded instead of the number of buckets. What is added in another order, or merged, is equal.
"""

import math
from collections import Counter
from typing import Final

RELATIVE_ERROR: Final = 0.01
_GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_PER_BUCKET: Final = 1 / math.log(_GAMMA)
LEAST: Final = 0.001
MOST: Final = 3_600_000.0  # an hour, of milliseconds: 1,100 buckets at most


class Quantiles:
    """How many values are in each bucket; values below LEAST or above MOST count as these."""

    __slots__ = ("buckets",)

    def __init__(self) -> None:
        self.buckets: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """Add one value."""
        bounded = LEAST if value < LEAST else min(value, MOST)
        self.buckets[math.ceil(math.log(bounded) * _PER_BUCKET)] += 1

    def merge(self, other: "Quantiles") -> None:
        """Add all values of another one."""
        for bucket, count in other.buckets.items():
            self.buckets[bucket] += count

    def quantile(self, share: float) -> float | None:
        """Return the least value that so great a share of all is not above, within RELATIVE_ERROR; None without any."""
        left = math.ceil(share * self.buckets.total())
        for bucket, count in sorted(self.buckets.items()):
            left -= count
            if left <= 0:
                return float(2 * _GAMMA**bucket / (_GAMMA + 1))
        return None

    def __len__(self) -> int:
        """Return the number of buckets that are in use."""
        return len(self.buckets)
