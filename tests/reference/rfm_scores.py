"""Scores, groups and grid cells from recency, frequency and monetary values; a part of the second `segments`."""

DAYS_OF_CELLS = (15, 30, 60, 90, 180, 365)  # up to; the seventh has all beyond
MOST_ORDERS = 11  # and more
GROUPS = (  # R from, to; (F + M) / 2 from, to
    (1, 2, 1, 2, "Hibernating"),
    (1, 2, 3, 4, "At risk"),
    (1, 2, 5, 5, "Can't lose them"),
    (3, 3, 1, 2, "About to sleep"),
    (3, 3, 3, 3, "Need attention"),
    (3, 4, 4, 5, "Loyal customers"),
    (4, 4, 1, 1, "Promising"),
    (5, 5, 1, 1, "New customers"),
    (4, 5, 2, 3, "Potential loyalists"),
    (5, 5, 4, 5, "Champions"),
)


def score(values, bins):
    """Give (recency, frequency, monetary, r, f, m, group) of each contact, from the first three of each."""
    r_cuts, f_cuts, m_cuts = (cuts([one[which] for one in values.values()], bins) for which in range(3))
    found = {}
    for contact, (recency, frequency, monetary) in values.items():
        r = bins - _below(r_cuts, recency)
        f = 1 + _below(f_cuts, frequency)
        m = 1 + _below(m_cuts, monetary)
        found[contact] = recency, frequency, monetary, r, f, m, group_of(r, f, m, bins)
    return found


def cuts(values, bins):
    """Give the values at k/bins of all: of n sorted ones the one at the place ceil(n * k / bins), counted from 1."""
    values = sorted(values)
    return [values[-(-len(values) * k // bins) - 1] for k in range(1, bins)] if values else []


def group_of(r, f, m, bins):
    """Give the group of three scores."""
    r, f, m = (-(-5 * one // bins) for one in (r, f, m))
    fm = (f + m + 1) // 2
    (name,) = [name for r1, r2, fm1, fm2, name in GROUPS if r1 <= r <= r2 and fm1 <= fm <= fm2]
    return name


def cell_of(recency, frequency):
    """Give the column and the row of the grid with fixed thresholds; without a sold order there is no column."""
    column = None if recency is None else 1 + _below(DAYS_OF_CELLS, recency)
    return column, min(frequency, MOST_ORDERS)


def _below(thresholds, value):
    return sum(threshold < value for threshold in thresholds)
