"""Random orders and contacts for questions of segments: few of them, at the edges of windows, with awkward values."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from processor.domain.records import Item, Order, PlainItems
from tests.reference.segments import EPOCH, People
from tests.support.snapshots import facts_of

CONTACTS = ("ann", "bob", "o'brien", 'c"d', "eve", "никто")
GHOST = "ghost"  # has orders, and does not exist
ITEMS = ("22423", "it's", "A", "a", "", "nul\0", "22423 ")
CATEGORIES = (None, "Bags", "O'Neil", "", "bags")
CURRENCIES = (None, "EUR", "USD")
STATUSES = ("INITIALIZED", "IN_PROGRESS", "DELIVERED", "DELIVERED", "DELIVERED", "CANCELLED", "ABANDONED_SHOPPING_CART")
DAYS = (0, 1, 2, 7, 15, 30, 60, 90, 180, 365)
NAMES = (
    "giftWrap",
    "it's",
    'a "quoted" name',
    "a.b[0]",
    "$.a",
    "",
    "ім'я",
    "new\nline",
    "nul\0",
    "/~1",
    "contactId",
    "*",
)
VALUES = (
    *(True, False, None, 0, 1, -1, 1.0, -0.0, 0.1, 0.30000000000000004, 2.5, 1e22, 5e-324, 1.7976931348623157e308),
    *(
        2**53,
        2**53 + 1,
        float(2**53),
        2**63 - 1,
        -(2**63),
        float(2**63),
        "1",
        "true",
        "",
        "a",
        "A",
        "é",
        "nul\0",
        "it's",
    ),
)
AMOUNTS = (0, 1, -1, 100_000, 205_000, 999_900, 100_000, 205_000, -50_000, 10**17)  # units of 0.0001
COSTS = (None, 0, 1, 25_000, 99_900, -25_000, 100_000)
QUANTITIES = (1.0, 1.0, 2.0, 3.0, 0.1, 0.5, 1e-7, 0.30000000000000004, 1234.5678, -1.0, -0.5, 1e6)
# Each zone with nights in which a local time occurs twice or never, and one with a day that never was.
NIGHTS = (
    ("UTC", datetime(2026, 3, 1, tzinfo=UTC)),
    ("Europe/Kyiv", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Kyiv", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("Africa/Cairo", datetime(2026, 4, 23, 22, tzinfo=UTC)),
)


@dataclass(frozen=True)
class World:
    """Orders, the contacts that exist, and as of when and where it is asked."""

    orders: list
    contact_ids: list
    as_of: datetime
    zone: ZoneInfo
    personal: bool

    @property
    def facts(self):
        """Give the orders as `facts show --latest` prints them."""
        return facts_of(self.orders)

    @property
    def people(self):
        """Give whom the reference asks."""
        return People(self.facts, self.contact_ids, self.as_of, self.zone, personal=self.personal)


def world(seed):
    """Give a random world."""
    source = random.Random(seed)
    name, night = source.choice(NIGHTS)
    zone = ZoneInfo(name)
    as_of = _as_of(source, night, zone)
    edge = People([], [], as_of, zone)
    edges = [EPOCH + timedelta(microseconds=edge.window_start(days)) for days in DAYS]
    currencies = source.choice(((None,), ("EUR",), ("EUR",), CURRENCIES))
    orders = [_order(source, number, as_of, edges, currencies) for number in range(source.choice((0, 3, 8, 15, 25)))]
    contact_ids = source.sample(CONTACTS, source.randrange(3, len(CONTACTS) + 1))
    return World(orders, contact_ids, as_of, zone, source.random() < 0.3)


def _as_of(source, night, zone):
    """Give an instant some whole days after a special night, at its hour, within an hour of it, or at midnight."""
    local = night.astimezone(zone).replace(tzinfo=None) + timedelta(days=source.choice(DAYS[:6]))
    match source.randrange(4):
        case 0:
            local = local.replace(hour=0, minute=0)
        case 1:
            local += timedelta(minutes=source.choice((-90, -61, -30, -1, 29, 31, 60)))
        case 2:
            local += timedelta(microseconds=source.choice((-1, 1, 500)), minutes=source.choice((-60, -30, 0)))
        case _:
            return night + timedelta(minutes=source.randrange(-100, 100))
    return local.replace(tzinfo=zone, fold=source.randrange(2)).astimezone(UTC)


def _order(source, number, as_of, edges, currencies):
    return Order(
        external_order_id=f"{number}{source.choice(('', ' x', chr(39), chr(34)))}",
        contact_id=source.choice((*CONTACTS[:4], *CONTACTS, GHOST)),
        identified_by="email",
        status=source.choice(STATUSES),
        date_ms=_moment(source, as_of, edges),
        total_cost=source.choice(AMOUNTS),
        event_type="orderUpdated",
        created_at_ms=0,
        updated_at_ms=0,
        status_changed_at_ms=_moment(source, as_of, edges),
        revision=1,
        source_partition=0,
        source_offset=number,
        items=PlainItems(tuple(_item(source) for _ in range(source.choice((0, 1, 1, 2, 3, 4))))),
        custom=_custom(source),
        currency=source.choice(currencies),
        **{
            field: source.choice((None, "", "a", "it's", "B"))
            for field in ("email", "phone", "first_name", "source", "store_id", "delivery_address", "cart_id")
        },
        **{field: source.choice((None, *AMOUNTS)) for field in ("shipping", "discount", "taxes")},
    )


def _moment(source, as_of, edges):
    """Give ms near the first moment of a window, near as_of, or far from both."""
    if source.random() < 0.1:
        return source.choice((0, -1, 253_402_300_799_999, -62_100_000_000_000))
    instant = source.choice((*edges[:6], *edges, as_of))
    if source.random() < 0.3:
        instant = as_of - timedelta(days=source.randrange(70))
    instant += timedelta(minutes=source.choice((0, 0, 0, 0, 1, -1, 30, -30, 60, -60, 600, -600, 1440)))
    return (instant - EPOCH) // timedelta(milliseconds=1) + source.choice((-1, 0, 0, 1))


def _item(source):
    return Item(
        external_item_id=source.choice((*ITEMS[:2] * 3, *ITEMS)),
        quantity=source.choice(QUANTITIES),
        name=source.choice((None, "a", "B")),
        category=source.choice((*CATEGORIES, "Bags", "Bags")),
        cost=source.choice(COSTS),
        custom=_custom(source),
    )


def _custom(source):
    return {source.choice(NAMES): source.choice(VALUES) for _ in range(source.choice((0, 1, 2, 4)))}


def amount(source):
    """Give an amount to compare with: often a small one, or one that is there, or a sum of them."""
    if source.random() < 0.7:
        return source.choice((Decimal("0.00005"), Decimal("1.5"), Decimal("-2.5"), 10, Decimal("20.5"), 0, Decimal(30)))
    chosen = Decimal(sum(source.choice(AMOUNTS) for _ in range(source.randrange(1, 4)))) / 10_000
    return source.choice((chosen, chosen, int(chosen), chosen + Decimal("0.0001"), chosen + Decimal("1e-11")))
