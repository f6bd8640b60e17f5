"""Random questions of segments: as SQL with parameters, and as the reference is asked."""

import operator
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tests.support.segment_worlds import CATEGORIES, CURRENCIES, DAYS, ITEMS, NAMES, STATUSES, VALUES, amount

# The arguments of each condition in their order, and how many must be given.
CONDITIONS = {
    "bought": (("item", "days"), 1),
    "bought_category": (("category", "days"), 1),
    "bought_all": (("items", "days", "together"), 1),
    "ordered": (("min", "max", "days"), 0),
    "spent": (("min", "days", "currency"), 1),
    "spent_on": (("min", "item", "category", "days", "currency"), 1),
    "average_order": (("min", "max", "days", "currency"), 1),
    "single_order": (("min", "max", "days", "currency"), 1),
    "first_ordered": (("days",), 1),
    "lapsed": (("days",), 1),
    "never_ordered": ((), 0),
    "cancelled": (("days",), 0),
    "abandoned": (("days",), 0),
    "order_field": (("name", "op", "value", "days"), 3),
    "item_field": (("name", "op", "value", "days"), 3),
    "rfm_group": (("name", "bins", "currency"), 1),
    "rfm_score": (("r", "f", "m", "bins", "currency"), 3),
    "rfm_cell": (("r", "f", "currency"), 2),
}
GROUPS = ("Hibernating", "At risk", "Can't lose them", "About to sleep", "Loyal customers", "Champions")
SET_OPERATIONS = {"UNION": operator.or_, "EXCEPT": operator.sub, "INTERSECT": operator.and_}
ORDER_TEXTS = ("externalOrderId", "email", "firstName", "source", "storeId", "deliveryAddress", "cartId")
ORDER_AMOUNTS = ("totalCost", "shipping", "discount", "taxes")
ITEM_TEXTS = ("externalItemId", "name", "category")
OPS = ("=", "!=", "<", "<=", ">", ">=")


@dataclass(frozen=True)
class Question:
    """A condition with its arguments by name, of which the first few are positional in SQL."""

    condition: str
    arguments: dict
    positional: int = 0
    parameters: dict = field(default_factory=dict)  # in the SQL, by the argument's name

    @property
    def sql(self):
        """Give it as SQL."""
        texts = []
        for index, (name, value) in enumerate(self.arguments.items()):
            text = f"${name}" if name in self.parameters else literal(value)
            texts.append(text if index < self.positional else f"{name} := {text}")
        return f"FROM {self.condition}({', '.join(texts)})"

    def ask(self, people):
        """Give what the reference finds."""
        return people.ask(self.condition, **self.arguments)


@dataclass(frozen=True)
class Combined:
    """Two questions and a set operation."""

    left: "Question | Combined"
    operation: str
    right: "Question | Combined"

    @property
    def sql(self):
        """Give it as SQL; what is combined itself stands in brackets."""
        sides = (f"({side.sql})" if isinstance(side, Combined) else side.sql for side in (self.left, self.right))
        return f" {self.operation} ".join(sides)

    @property
    def parameters(self):
        """Give the SQL's parameters."""
        return self.left.parameters | self.right.parameters

    def ask(self, people):
        """Give what the reference finds."""
        return SET_OPERATIONS[self.operation](self.left.ask(people), self.right.ask(people))


def question(source, condition, as_of):
    """Give a random question of a condition."""
    names, needed = CONDITIONS[condition]
    chosen = [name for index, name in enumerate(names) if index < needed or source.random() < 0.5]
    arguments = {name: _argument(source, condition, name) for name in chosen}
    if condition == "spent_on" and arguments.get("category") is None and source.random() < 0.9:
        arguments["item"] = source.choice(ITEMS[:2])
    if condition in ("order_field", "item_field"):
        arguments |= _comparison(source, condition, as_of)
    positional = source.randrange(1 + _as_listed(chosen, names))
    rest = list(arguments.items())[positional:]
    source.shuffle(rest)
    arguments = dict(list(arguments.items())[:positional] + rest)
    return Question(condition, arguments, positional, _parameters(source, arguments))


def questions(seed, as_of):
    """Give endless random questions: each condition in turn, and combinations."""
    source = random.Random(seed)
    while True:
        for condition in CONDITIONS:
            yield question(source, condition, as_of)
        for _ in range(2):
            yield _combined(source, as_of, 2)


def literal(value):
    """Give a value as SQL."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value)
        case str():
            parts = ["'" + part.replace("'", "''") + "'" for part in value.split("\0")]
            return parts[0] if len(parts) == 1 else "(" + " || chr(0) || ".join(parts) + ")"
        case list():
            return "[" + ", ".join(map(literal, value)) + "]"
        case Decimal():
            text = f"{value:f}"
            return text if "." in text else f"{text}.0"
        case float():
            return f"CAST('{value!r}' AS DOUBLE)"
        case _:
            return str(value)


def _combined(source, as_of, depth):
    sides = [
        _combined(source, as_of, depth - 1)
        if depth > 1 and source.random() < 0.4
        else question(source, source.choice([*CONDITIONS]), as_of)
        for _ in range(2)
    ]
    if sides[0].parameters.keys() & sides[1].parameters.keys():
        return _combined(source, as_of, depth)
    return Combined(sides[0], source.choice([*SET_OPERATIONS]), sides[1])


def _as_listed(chosen, names):
    """Count how many of the first chosen arguments stand where they are listed."""
    return next((index for index, name in enumerate(chosen) if name != names[index]), len(chosen))


def _parameters(source, arguments):
    """Give some of the texts among the arguments as parameters."""
    texts = {name: value for name, value in arguments.items() if isinstance(value, str)}
    return {name: value for name, value in texts.items() if source.random() < 0.4}


def _argument(source, condition, name):
    """Give a random value of an argument; those of order_field and item_field come from `_comparison`."""
    if name == "items":
        return [source.choice(ITEMS[:4]) for _ in range(source.choice((0, 1, 1, 2, 2, 3)))]
    if name in ("min", "max"):
        return source.randrange(5) if condition == "ordered" else amount(source)
    values = {
        "item": (*ITEMS[:2] * 3, *ITEMS, *([None] * 3 if condition == "spent_on" else [])),
        "category": (*CATEGORIES, "Bags"),
        "together": (True, True, False),
        "days": (*DAYS, 14, 365, 365, 4000, 4000, None, None),
        "currency": (*(one or "" for one in CURRENCIES), "EUR", "eur", None),
        "bins": (1, 2, 3, 4, 5, 5, 7, 10),
        "name": GROUPS,
        **dict.fromkeys("rfm", (*[None] * 6, 0, 1, 1, 1, 2, 2, 3, 4, 5, 6, 7, 11)),
        **dict.fromkeys(("op", "value"), (None,)),
    }
    if condition in ("first_ordered", "lapsed"):
        return source.choice(DAYS)
    return source.choice(values[name])


def _comparison(source, condition, as_of):
    """Give name, op and value of a field's condition, which often fit together."""
    op, is_order = source.choice(OPS), condition == "order_field"
    texts, amounts = (ORDER_TEXTS, ORDER_AMOUNTS) if is_order else (ITEM_TEXTS, ("cost", "quantity"))
    match source.randrange(7):
        case 0:
            return {"name": source.choice(texts), "op": op, "value": source.choice(("a", "B", "it's", "", "nul\0", 1))}
        case 1:
            return {"name": source.choice(amounts), "op": op, "value": source.choice((amount(source), 1, "1", True))}
        case 2 if is_order:
            return {"name": "status", "op": op, "value": source.choice(STATUSES)}
        case 3 if is_order:
            return {"name": "date", "op": op, "value": _instant_text(source, as_of)}
        case _:
            return {"name": source.choice(NAMES), "op": op, "value": source.choice((*map(_given, VALUES), 3, "x"))}


def _given(value):
    """Give a custom field's value as one writes it: a double with few digits with a decimal point."""
    return Decimal(repr(value)) if value in (0.1, 2.5) and isinstance(value, float) else value


def _instant_text(source, as_of):
    instant = as_of - timedelta(days=source.choice(DAYS))
    if source.random() < 0.3:
        return f"{instant:%Y-%m-%d}"
    instant = datetime.fromtimestamp(instant.timestamp(), UTC)
    return instant.isoformat() if source.random() < 0.5 else f"{instant:%Y-%m-%dT%H:%M:%S}Z"
