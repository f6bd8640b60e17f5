"""What came out, held against the reference fold: outputs that are missing, doubled, or not what they should be."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from tests.reference import Fact
from tests.support.facts import fact_of

SHOWN = 5  # of each kind


@dataclass
class Comparison:
    """Counts by reason of what the reference gives, and a line for each difference."""

    reasons: Counter = field(default_factory=Counter)
    losses: list = field(default_factory=list)
    duplicates: list = field(default_factory=list)
    mismatches: list = field(default_factory=list)

    def __add__(self, other):
        """Give both together."""
        return Comparison(
            self.reasons + other.reasons,
            self.losses + other.losses,
            self.duplicates + other.duplicates,
            self.mismatches + other.mismatches,
        )

    @property
    def counts(self):
        """How many differences there are of each kind."""
        return {kind: len(getattr(self, kind)) for kind in ("duplicates", "losses", "mismatches")}

    @property
    def is_clean(self):
        """Whether there is no difference."""
        return not any(self.counts.values())

    def told(self):
        """Give the first differences of each kind as text."""
        return "\n".join(
            f"{kind}: {count}\n" + "".join(f"  {line}\n" for line in getattr(self, kind)[:SHOWN])
            for kind, count in self.counts.items()
            if count
        )


def compare_outputs(expected, facts, rejected):
    """Compare the topics' records, each list in its topic's order, with the entries of the reference fold."""
    outputs, mismatches = defaultdict(list), []
    for topic, records in (("facts", map(_fact, facts)), ("rejected records", map(_rejection, rejected))):
        sources = []
        for source, output in records:
            sources.append(source)
            outputs[source].append(output)
        mismatches += _disorder(topic, sources)
    comparison = Comparison(_reasons(expected), mismatches=mismatches)
    for entry in expected:
        source = (entry.source_partition, entry.source_offset)
        found = outputs.pop(source, [])
        if not found:
            comparison.losses.append(f"{source}: {_name(entry)} is missing")
            continue
        if len(found) > 1:
            comparison.duplicates.append(f"{source}: {len(found)} outputs")
        comparison.mismatches += [f"{source}: {told}" for told in _differences(_wanted(entry), found[0])]
    comparison.mismatches += [f"{source}: an output of no event" for source in outputs]
    return comparison


def compare_mirror(held, expected):
    """Give a line for each order that the mirror has not, has besides, or has otherwise than the latest fact."""
    lines = [f"{key}: not in the mirror" for key in expected.keys() - held.keys()]
    lines += [f"{key}: in the mirror, without a fact" for key in held.keys() - expected.keys()]
    return lines + [
        f"{key}: not as the latest fact has it" for key in held.keys() & expected if held[key] != expected[key]
    ]


def source_of_fact(record):
    """Give the partition and offset of the event that a fact's record was made from."""
    return record.partition, fact_of(record.value)["sourceOffset"]


def source_of_rejection(record):
    """Give the partition and offset of the event that a rejected record was."""
    headers = dict(record.headers)
    return int(headers["source.partition"]), int(headers["source.offset"])


def _fact(record):
    fact = fact_of(record.value)
    return (record.partition, fact["sourceOffset"]), {"key": record.key, **fact}


def _rejection(record):
    headers = {name: value.decode() for name, value in record.headers}
    output = {"partition": record.partition, "reason": headers["reason"], "outcome": headers["outcome"]}
    return source_of_rejection(record), output


def _wanted(entry):
    if isinstance(entry, Fact):
        return {"key": entry.fact["externalOrderId"].encode(), **entry.fact}
    return {"partition": entry.source_partition, "reason": entry.reason, "outcome": entry.outcome}


def _differences(wanted, found):
    if wanted == found:
        return []
    names = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    return ["; ".join(f"{name} is {found.get(name)!r}, not {wanted.get(name)!r}" for name in names)]


def _disorder(topic, sources):
    by_partition = defaultdict(list)
    for partition, offset in sources:
        by_partition[partition].append(offset)
    return [
        f"{topic} of partition {partition}: that of offset {later} after that of {earlier}"
        for partition, offsets in by_partition.items()
        for earlier, later in pairwise(offsets)
        if later < earlier
    ]


def _reasons(expected):
    return Counter(_name(entry) for entry in expected)


def _name(entry):
    return "fact" if isinstance(entry, Fact) else entry.reason
