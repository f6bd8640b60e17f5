"""Whether a program did the work: its outputs against the reference fold of the same input, field by field.

All fields of every fact are compared, and of every rejected record its source and its reason. Left out, since they
cannot be equal or mean nothing here: offsets and record timestamps of the outputs, the order in which maps are
written, the words of a rejected record's detail, and headers besides the source and the reason.
"""

import msgspec

from processor.kafka.messages import record_of
from processor.kafka.ranges import read_range
from tests.benchmarks.stage import PARTITIONS
from tests.reference import ContactRecord, Contacts, Fact, Input, Rules, fold
from tests.support.facts import contact_of, event_of, fact_of
from tests.support.inputs import UNDECODABLE


class WrongOutputsError(Exception):
    """A program's outputs are not what the rules ask for; the text names the first difference."""


class Expected:
    """What must become of an input; kept as bytes, since there are many.

    `plain` gives a value of events or facts in single-object encoding.
    """

    def __init__(self, stage, settings, partitions=range(PARTITIONS), plain=lambda value: value):
        self._plain = plain
        found = Contacts([_contact_of(record) for record in _records(stage, settings, "contacts")], Rules())
        self._facts, self._reasons = {}, {}
        for partition in partitions:
            inputs = [_input_of(record, plain) for record in _records(stage, settings, "events", [partition])]
            for output in fold(inputs, found, Rules()):
                place = output.source_partition, output.source_offset
                if isinstance(output, Fact):
                    self._facts[place] = _packed(output.fact)
                else:
                    self._reasons[place] = output.reason

    @property
    def counts(self):
        """How many facts and rejections there must be."""
        return {"facts": len(self._facts), "rejected": len(self._reasons)}

    def check(self, stage, settings):
        """Compare a deployment's outputs; raises WrongOutputsError."""
        self._check_facts(_records(stage, settings, "facts"))
        reasons = {}
        for record in _records(stage, settings, "rejected"):
            headers = {name: value.decode() for name, value in record.headers if value is not None}
            place = int(headers["source.partition"]), int(headers["source.offset"])
            _require(place not in reasons, f"the event at {place} was rejected twice")
            reasons[place] = headers["reason"]
        for place in sorted(self._reasons.keys() | reasons.keys()):
            wanted, found = self._reasons.get(place), reasons.get(place)
            _require(wanted == found, f"the event at {place} must be {wanted or 'a fact'}, not {found or 'a fact'}")

    def _check_facts(self, records):
        seen, last = set(), dict[str, tuple[int, int]]()
        for record in records:
            fact = fact_of(self._plain(record.value))
            place = fact["sourcePartition"], fact["sourceOffset"]
            order = fact["externalOrderId"]
            _require(place not in seen, f"the event at {place} gave two facts")
            _require(last.get(order, (-1, -1)) < place, f"the facts of order {order} are out of order at {place}")
            _require(record.key == order.encode(), f"the fact of {place} has the key {record.key!r}")
            seen.add(place)
            last[order] = place
            packed = _packed(fact)
            if packed != self._facts.get(place):
                raise WrongOutputsError(
                    f"the fact of the event at {place}: {_difference(self._facts.get(place), packed)}"
                )
        missing = self._facts.keys() - seen
        _require(not missing, f"{len(missing)} facts are missing, such as that of {min(missing, default=None)}")


def _require(condition, problem):
    if not condition:
        raise WrongOutputsError(problem)


def _packed(fact):
    """Give a fact as bytes that are equal where facts are."""
    return _encode(_with_units(fact))


_encode = msgspec.msgpack.Encoder(order="sorted").encode


def _with_units(fact):
    """Give a fact whose amounts are whole numbers of 0.0001: decimals have several spellings."""
    items = [{**item, "cost": _units(item["cost"])} for item in fact["items"]]
    amounts = {name: _units(fact[name]) for name in ("totalCost", "shipping", "discount", "taxes")}
    return {**fact, **amounts, "items": items}


def _units(amount):
    return None if amount is None else int(amount.scaleb(4))


def _difference(wanted, found):
    if wanted is None:
        return "there must be none"
    wanted, found = msgspec.msgpack.decode(wanted), msgspec.msgpack.decode(found)
    names = [name for name in wanted if wanted[name] != found.get(name)]
    return "; ".join(f"{name} must be {wanted[name]!r}, not {found.get(name)!r}" for name in names)


def _records(stage, settings, role, partitions=range(PARTITIONS)):
    """Yield all committed records of one of a deployment's topics."""
    topic = getattr(settings, f"{role}_topic")
    ends = {partition: end for partition, end in stage.ends(topic).items() if partition in partitions}
    for message in read_range(stage.reader, topic, dict.fromkeys(ends, 0), ends):
        yield record_of(message)


def _input_of(record, plain):
    is_decodable = UNDECODABLE not in dict(record.headers)
    event = event_of(plain(record.value)) if is_decodable else None
    return Input(record.partition, record.offset, record.timestamp_ms, record.key, len(record.value), event)


def _contact_of(record):
    contact = contact_of(record.value)
    return ContactRecord(record.partition, record.offset, record.timestamp_ms, record.key.decode(), contact)
