"""RFM of a snapshot, counted by DuckDB: groups, cells of a picture, cut points, and each contact's values.

Takes a session; gives typed values, a few for any number of contacts, but for `contact_rows` and `grid_rows`. The
population are the contacts with a sold order; row 0 are the rest of those that exist.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from processor.errors import UsageError
from processor.segments.snapshot_session import Session

GRID_DAYS: Final = (15, 30, 60, 90, 180, 365)
"""The fixed grid: a contact is in R cell n if n - 1 of these are fewer than the days since its last sold order."""
GRID_MOST_ORDERS: Final = 11
"""The last F cell of the fixed grid: so many sold orders, or more."""
MOST_BINS: Final = 1_000
CONTACT_COLUMNS: Final = ("contactId", "recency", "frequency", "monetary", "r", "f", "m", "group")
GRID_COLUMNS: Final = CONTACT_COLUMNS[:6]
_FIFTHS: Final = 5
_MOST_DRAWN: Final = 8  # bins beside each other on a terminal; more are brought to fifths, as for the groups


class Total(NamedTuple):
    """Contacts, their sold orders, what those cost together, and the days since each contact's last one, summed up."""

    contacts: int = 0
    orders: int = 0
    money: Decimal = Decimal(0)
    days: int = 0

    def plus(self, other: "Total") -> "Total":
        """Return both together."""
        return Total(
            self.contacts + other.contacts,
            self.orders + other.orders,
            self.money + other.money,
            self.days + other.days,
        )


class Cuts(NamedTuple):
    """The cut points, ascending; a value that equals one is on its lower side."""

    recency: tuple[int, ...]  # days
    frequency: tuple[int, ...]
    monetary: tuple[Decimal, ...]


class Population(NamedTuple):
    """Who is counted: the contacts with a sold order, and how many there are without.

    `currencies` are those of all sold orders, "" for none; `currency` the one that was added up, None if there are no
    sold orders.
    """

    total: Total
    rest: int
    currency: str | None
    currencies: tuple[str, ...]


class Scored(NamedTuple):
    """RFM by scores. `cells` are by (R, FM), from 1 to `steps`; `groups` by name; who is nobody's is left out.

    R and FM are the scores themselves, or their fifths if there are too many bins to be drawn. FM is (F + M) / 2, and a
    half is rounded up.
    """

    population: Population
    bins: int
    steps: int
    cuts: Cuts
    cells: dict[tuple[int, int], Total]
    groups: dict[str, Total]


class Grid(NamedTuple):
    """RF by fixed thresholds; `cells` are by (R from 1 to 7, F from 1 to 11), and who is nobody's is left out."""

    population: Population
    cells: dict[tuple[int, int], Total]


def scored(asked: Session, bins: int, currency: str | None) -> Scored:
    """Return RFM by scores. `bins` is from 1 to `MOST_BINS`; `currency` is needed where there are several ("": none).

    Raises UsageError where there are several and none is named.
    """
    currencies = _currencies(asked, currency)
    given = {"bins": bins, "currency": currency}
    steps = bins if bins <= _MOST_DRAWN else _FIFTHS
    made = "s.r AS r, s.f AS f, s.m AS m"
    if steps != bins:
        made = ", ".join(f"_fifth(s.{score}, $bins) AS {score}" for score in "rfm")
    rows = asked.rows(
        f"""WITH scores AS (
            SELECT {made}, s."group", s.frequency, s.monetary, s.recency
            FROM rfm(bins := $bins, currency := $currency) AS s)
        SELECT r, (f + m + 1) // 2, "group", {_TOTAL} FROM scores GROUP BY ALL""",
        given,
    )
    cells, groups, rest = dict[tuple[int, int], Total](), dict[str, Total](), 0
    for r, value, group, *sums in rows:
        total = _total(sums)
        if group is None:
            rest = total.contacts
        else:
            cells[r, value] = cells.get((r, value), Total()).plus(total)
            groups[group] = groups.get(group, Total()).plus(total)
    population = _population(cells, rest, currency, currencies)
    ((recency, frequency, monetary),) = asked.rows("FROM rfm_cuts(bins := $bins, currency := $currency)", given)
    cuts = Cuts(tuple(recency), tuple(frequency), tuple(monetary)) if cells else Cuts((), (), ())
    return Scored(population, bins, steps, cuts, cells, groups)


def grid(asked: Session, currency: str | None) -> Grid:
    """Return RF by fixed thresholds. Raises UsageError as `scored`."""
    currencies = _currencies(asked, currency)
    rows = asked.rows(
        f"SELECT r, f, {_TOTAL} FROM rfm_cells(currency := $currency) GROUP BY ALL", {"currency": currency}
    )
    cells, rest = dict[tuple[int, int], Total](), 0
    for r, f, *sums in rows:
        if r is None:
            rest = _total(sums).contacts
        else:
            cells[r, f] = _total(sums)
    return Grid(_population(cells, rest, currency, currencies), cells)


def contact_rows(asked: Session, bins: int, currency: str | None) -> list[tuple[Any, ...]]:
    """Return a row of `CONTACT_COLUMNS` for each contact that exists, by contactId. Raises UsageError as `scored`."""
    _currencies(asked, currency)
    query = f"SELECT {_listed(CONTACT_COLUMNS)} FROM rfm(bins := $bins, currency := $currency) ORDER BY contactId"
    return asked.rows(query, {"bins": bins, "currency": currency})


def grid_rows(asked: Session, currency: str | None) -> list[tuple[Any, ...]]:
    """Return a row of `GRID_COLUMNS` for each contact that exists, by contactId; r and f are the numbers of its cell.

    Raises UsageError as `scored`.
    """
    _currencies(asked, currency)
    query = f"SELECT {_listed(GRID_COLUMNS)} FROM rfm_cells(currency := $currency) ORDER BY contactId"
    return asked.rows(query, {"currency": currency})


_TOTAL: Final = "count(*), sum(frequency), sum(monetary), sum(recency)"


def _total(sums: Sequence[Any]) -> Total:
    contacts, orders, money, days = sums
    return Total(contacts, int(orders), money, int(days or 0))


def _population(
    cells: dict[tuple[int, int], Total], rest: int, currency: str | None, currencies: tuple[str, ...]
) -> Population:
    total = Total()
    for cell in cells.values():
        total = total.plus(cell)
    return Population(total, rest, next(iter(currencies), None) if currency is None else currency, currencies)


def _currencies(asked: Session, currency: str | None) -> tuple[str, ...]:
    """Return the currencies of sold orders, "" for none. Raises UsageError for several of which none is named."""
    rows = asked.rows("SELECT DISTINCT _code(s.currency) FROM _sold(NULL) AS s ORDER BY ALL")
    found = tuple(code for (code,) in rows)
    if currency is None and len(found) > 1:
        listed = ", ".join(map(code_shown, found))
        raise UsageError(
            f"the orders to be added up are in several currencies: {listed}; "
            f"name one of them: --currency {code_shown(found[-1])}"
        )
    return found


def code_shown(currency: str) -> str:
    """Return a currency as a line has it, as a shell would take it: '' for none, and no control characters."""
    plain = currency.isprintable() and not set(currency) & set(" '\"")
    return currency if currency and plain else repr(currency)


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)
