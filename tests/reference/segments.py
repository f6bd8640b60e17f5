"""The conditions of segments a second time: plainly, without SQL, and for tests only.

It shares no code with the processor. It takes orders as `facts show --latest` prints them, the ids of the contacts that
exist, and when and where is asked; it gives whom a condition finds, and the orders that put each contact there.

    people = People(facts, contact_ids, as_of, ZoneInfo("Europe/Kyiv"))
    people.ask("bought", item="22423", days=7) - people.ask("cancelled", days=30)
"""

import operator
from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal

from tests.reference.found import of_contacts, of_orders
from tests.reference.rfm_scores import cell_of, score

COUNTED = ("INITIALIZED", "IN_PROGRESS", "DELIVERED")
SOLD = ("DELIVERED",)
OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MONEY = ("totalCost", "shipping", "discount", "taxes", "cost")
PERSONAL = ("email", "phone", "firstName", "lastName", "deliveryAddress", "additionalInfo", "restoreUrl")
ORDER_PARAMETERS = (
    *("externalOrderId", "externalCustomerId", "totalCost", "status", "email", "phone", "firstName", "lastName"),
    *("date", "currency", "shipping", "discount", "taxes", "statusDescription", "restoreUrl", "storeId", "source"),
    *("deliveryMethod", "paymentMethod", "deliveryAddress", "additionalInfo", "cartId"),
)
ITEM_PARAMETERS = ("externalItemId", "name", "category", "url", "imageUrl", "description", "cost", "quantity")
# Wide enough for the sum of any doubles times amounts: nothing is ever rounded.
EXACT = Context(prec=1500, Emax=10_000, Emin=-10_000)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONG_AGO = -(10**30)


class WrongQuestionError(Exception):
    """The rules say that this is an error."""


class People:
    """The contacts that exist with their orders, as of an instant (of which an aware datetime is given), in a zone."""

    def __init__(self, facts, contact_ids, as_of, zone, *, personal=False):
        self.contact_ids = sorted(set(contact_ids))
        self.as_of, self.zone, self.personal = as_of, zone, personal
        known = set(self.contact_ids)
        self.facts = [fact for fact in facts if fact["contactId"] in known]

    def ask(self, condition, **arguments):
        """Give what a condition finds; arguments by their names. Raises WrongQuestionError."""
        names = {"min": "least", "max": "most"}  # which are functions here
        return getattr(self, f"_{condition}")(**{names.get(name, name): value for name, value in arguments.items()})

    def rfm(self, bins=5, currency=None):
        """Give of each contact recency, frequency, monetary, r, f, m and group."""
        orders = self._of_currency(self._orders(SOLD), currency)
        values = {}
        for contact, own in self._by_contact(orders).items():
            if own:
                values[contact] = self._days_since(max(map(_date, own))), len(own), _total(own)
        rest = dict.fromkeys(self.contact_ids, (None, 0, Decimal(0), 0, 0, 0, None))
        return rest | score(values, bins)

    # When

    def window_start(self, days):
        """Give the first µs of the last so many calendar days; without days there is no first."""
        if days is None:
            return LONG_AGO
        if days == 0:
            return _micros(self.as_of)
        try:
            local = self.as_of.astimezone(self.zone).replace(tzinfo=None) - timedelta(days=days)
            return _micros(_instant(local, self.zone))
        except OverflowError:  # before the year 1
            return LONG_AGO

    def _days_since(self, micros):
        """Give the greatest n for which an instant is not after as_of minus n calendar days."""
        days = (_micros(self.as_of) - micros) // 86_400_000_000 + 3
        while micros > self.window_start(days):
            days -= 1
        return days

    # Which orders

    def _orders(self, statuses, days=None, when="date"):
        start, end = self.window_start(days), _micros(self.as_of)
        return [
            fact
            for fact in self.facts
            if (statuses is None or fact["status"] in statuses) and start <= _parsed(fact[when]) < end
        ]

    def _by_contact(self, orders):
        found: dict[str, list] = {contact: [] for contact in self.contact_ids}
        for order in orders:
            found[order["contactId"]].append(order)
        return found

    def _of_currency(self, orders, currency):
        """Give the orders of a currency ('': those without); without one all, which must have the same."""
        if currency is not None:
            return [order for order in orders if (order["currency"] or "") == currency]
        if len({order["currency"] for order in orders}) > 1:
            raise WrongQuestionError("several currencies")
        return orders

    def _whose(self, orders, is_in):
        """Give the contacts whose orders, taken together, are as asked; all of them are the reasons."""
        return of_contacts({contact: own for contact, own in self._by_contact(orders).items() if is_in(own)})

    # The conditions

    def _bought(self, item, days=None):
        return of_orders(o for o in self._orders(COUNTED, days) if _has(o, externalItemId=item))

    def _bought_category(self, category, days=None):
        return of_orders(o for o in self._orders(COUNTED, days) if _has(o, category=category))

    def _bought_all(self, items, days=None, together=False):  # noqa: FBT002 - as the condition has it
        if not items:
            raise WrongQuestionError("no items")
        wanted = set(items)
        orders = [(o, {line["externalItemId"] for line in _lines(o)} & wanted) for o in self._orders(COUNTED, days)]
        if together:
            return of_orders(order for order, had in orders if had == wanted)
        had_by: dict[str, set] = defaultdict(set)
        for order, had in orders:
            had_by[order["contactId"]] |= had
        return of_orders(order for order, had in orders if had and had_by[order["contactId"]] == wanted)

    def _ordered(self, least=1, most=None, days=None):
        return self._whose(self._orders(COUNTED, days), lambda own: _within(len(own), least, most))

    def _spent(self, least, days=None, currency=None):
        orders = self._of_currency(self._orders(SOLD, days), currency)
        return self._whose(orders, lambda own: own and _within(_total(own), least, None))

    def _spent_on(self, least, item=None, category=None, days=None, currency=None):
        if item is None and category is None:
            raise WrongQuestionError("neither item nor category")
        wanted = {"externalItemId": item, "category": category}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        orders = [order for order in self._orders(SOLD, days) if _has(order, **wanted)]
        orders = self._of_currency(orders, currency)

        def is_in(own):
            spent = Decimal(0)
            for order in own:
                for line in _lines(order):
                    if line["cost"] is not None and _is(line, wanted):
                        spent = EXACT.add(spent, EXACT.multiply(_shortest(line["quantity"]), Decimal(line["cost"])))
            return own and _within(spent, least, None)

        return self._whose(orders, is_in)

    def _average_order(self, least, most=None, days=None, currency=None):
        orders = self._of_currency(self._orders(SOLD, days), currency)

        def is_in(own):
            bounds = (None if bound is None else EXACT.multiply(bound, Decimal(len(own))) for bound in (least, most))
            return own and _within(_total(own), *bounds)

        return self._whose(orders, is_in)

    def _single_order(self, least, most=None, days=None, currency=None):
        orders = self._orders(SOLD, days)
        if currency is not None:
            orders = self._of_currency(orders, currency)
        return of_orders(order for order in orders if _within(Decimal(order["totalCost"]), least, most))

    def _first_ordered(self, days):
        start = self.window_start(days)
        return self._at_one_date(min, lambda first: first >= start)

    def _lapsed(self, days):
        start = self.window_start(days)
        return self._at_one_date(max, lambda last: last < start)

    def _at_one_date(self, choose, is_right):
        """Give the contacts whose first or last counted order has a right date; its orders are the reasons."""
        found = []
        for own in self._by_contact(self._orders(COUNTED)).values():
            dates = [_date(order) for order in own]
            if dates and is_right(choose(dates)):
                found += [order for order in own if _date(order) == choose(dates)]
        return of_orders(found)

    def _never_ordered(self):
        return self._ordered(least=0, most=0)

    def _cancelled(self, days=None):
        return of_orders(self._orders(("CANCELLED",), days, "statusChangedAt"))

    def _abandoned(self, days=None):
        counted = self._by_contact(self._orders(COUNTED))
        carts = self._orders(("ABANDONED_SHOPPING_CART",), days)
        return of_orders(
            cart for cart in carts if all(_date(order) <= _date(cart) for order in counted[cart["contactId"]])
        )

    def _order_field(self, name, op, value, days=None):
        is_so = self._comparison(op, value, is_date=name == "date")
        if name in PERSONAL and not self.personal:
            raise WrongQuestionError("a personal column needs --personal")
        orders = self._orders(None if name == "status" else COUNTED, days)
        return of_orders(order for order in orders if is_so(name, _field(order, name, ORDER_PARAMETERS)))

    def _item_field(self, name, op, value, days=None):
        is_so = self._comparison(op, value)
        orders = self._orders(COUNTED, days)
        return of_orders(
            order for order in orders if any(is_so(name, _field(line, name, ITEM_PARAMETERS)) for line in _lines(order))
        )

    def _comparison(self, op, value, *, is_date=False):
        """Give what says whether a field, by its name and value, is as asked."""
        if value is None or op not in OPERATORS:
            raise WrongQuestionError("no value, or no such operator")
        if isinstance(value, bool) and op not in ("=", "!="):
            raise WrongQuestionError("booleans have no order")
        if is_date:
            wanted = _asked_instant(value, self.zone)
            return lambda _, found: OPERATORS[op](_parsed(found), wanted)

        def is_so(name, found):
            if found is None or _kind(found) != _kind(value):
                return False
            given = float(value) if isinstance(value, Decimal) and not isinstance(found, Decimal) else value
            if isinstance(found, Decimal) and isinstance(given, float):
                given = _shortest(given)
            return OPERATORS[op](found, given)

        return is_so

    def _rfm_group(self, name, bins=5, currency=None):
        rows = self.rfm(bins, currency)
        return self._sold_to((contact for contact, row in rows.items() if row[6] == name), currency)

    def _rfm_score(self, r=None, f=None, m=None, bins=5, currency=None):
        asked = r, f, m  # scores are 1 to bins: who has none, without a sold order, is not in it
        rows = self.rfm(bins, currency)
        return self._sold_to((c for c, row in rows.items() if row[1] > 0 and _fits(row[3:6], asked)), currency)

    def _rfm_cell(self, r=None, f=None, currency=None):
        rows = self.rfm(currency=currency)
        return self._sold_to((contact for contact, row in rows.items() if _fits(cell_of(*row[:2]), (r, f))), currency)

    def _sold_to(self, contacts, currency):
        own = self._by_contact(self._of_currency(self._orders(SOLD), currency))
        return of_contacts({contact: own[contact] for contact in contacts})


def _fits(found, asked):
    return all(wanted is None or wanted == value for value, wanted in zip(found, asked, strict=True))


def _within(value, least, most):
    return (least is None or value >= least) and (most is None or value <= most)


def _lines(order):
    """Give the lines that are there for conditions."""
    return [line for line in order["items"] if line["quantity"] > 0]


def _is(line, wanted):
    return all(value is not None and line[name] == value for name, value in wanted.items())


def _has(order, **wanted):
    return any(_is(line, wanted) for line in _lines(order))


def _total(orders):
    return sum((Decimal(order["totalCost"]) for order in orders), Decimal(0))


def _field(holder, name, parameters):
    """Give a parameter, or the custom field of this name: amounts and the quantity as exact decimals."""
    if name not in parameters:
        return holder["custom"].get(name)
    value = holder[name]
    if value is not None and name in MONEY:
        return Decimal(value)
    return _shortest(value) if name == "quantity" else value


def _kind(value):
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def _shortest(number):
    """Give the exact value of a double's shortest decimal text."""
    return Decimal(repr(number))


def _date(order):
    return _parsed(order["date"])


def _parsed(text):
    """Read an instant of a fact: µs since the epoch."""
    if text.endswith("ms"):  # outside the years 1 to 9999
        return int(text.removesuffix("ms")) * 1000
    return _micros(datetime.fromisoformat(text))


def _asked_instant(value, zone):
    """Read what a date is compared with: a date, whose first moment in the zone counts, or an instant; in µs."""
    try:
        day = date.fromisoformat(value)
    except ValueError:
        instant = datetime.fromisoformat(value)
        assert instant.tzinfo is not None, value
        return _micros(instant)
    return _micros(_instant(datetime.combine(day, time()), zone))


def _instant(local, zone):
    """Give the instant of a local time: the earlier of two; one that never occurs moves forward by the gap."""
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)


def _micros(instant):
    return (instant - EPOCH) // timedelta(microseconds=1)
