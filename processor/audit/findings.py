"""What an audit found: differences by kind, each counted, with the first few examples."""

from collections import Counter, defaultdict
from enum import StrEnum
from typing import Final

from processor.domain.rejections import shown

EXAMPLES: Final = 5


class Kind(StrEnum):
    """Every kind of difference, in the order in which they are printed."""

    MISSING = "missing"  # an event with neither a fact nor a rejected record
    DOUBLED = "doubled"  # an event with more than one output
    UNFOUNDED = "unfounded"  # an output without an event
    OUT_OF_ORDER = "out_of_order"  # an output after that of a later event
    SUM = "sum"  # facts ever written and rejected records do not add up to the events
    WATERMARK = "watermark"  # outputs and the committed offset contradict each other
    FACTS_DELETED = "facts_deleted"  # the facts topic lost its beginning, and the state with it
    ALTERED = "altered"  # a fact or rejected record that its event does not lead to
    REVISION = "revision"  # an order's revisions are not consecutive
    MISPLACED = "misplaced"  # an output with another key or partition than its event
    TWO_PARTITIONS = "two_partitions"  # an order with facts in several partitions: it has several lives
    MIRROR_AHEAD = "mirror_ahead"  # the mirror holds more than was committed
    MIRROR_ALTERED = "mirror_altered"  # an order in the mirror differs from its latest fact
    MIRROR_MISSING = "mirror_missing"  # an order with a fact is not in the mirror
    MIRROR_EXTRA = "mirror_extra"  # an order in the mirror has no fact
    COPY_MISSING = "copy_missing"  # an event of the former topic has no copy
    COPY_DOUBLED = "copy_doubled"  # it has more than one
    COPY_CHANGED = "copy_changed"  # its copy has another value, other headers or another time
    COPY_OUT_OF_ORDER = "copy_out_of_order"  # an order's copies are not in the order of its events
    COPY_MISPLACED = "copy_misplaced"  # an event is not in the partition that murmur2 gives its key
    NO_COPY = "no_copy"  # an event among the copies is none
    NOT_COPIED = "not_copied"  # an event came to the former topic after the copy was finished
    ORDER_MISSING = "order_missing"  # an order with facts of the former deployment has none of copies
    ORDER_EXTRA = "order_extra"  # an order with facts of copies had none
    ORDER_DIFFERS = "order_differs"  # an order's last fact of copies differs from its last former fact


class Findings:
    """Collects differences: their number by kind, and the first examples as text without personal data."""

    def __init__(self) -> None:
        self.counts: Counter[Kind] = Counter()
        self.examples: defaultdict[Kind, list[str]] = defaultdict(list)

    @property
    def total(self) -> int:
        """How many differences were found."""
        return self.counts.total()

    def add(self, kind: Kind, example: str) -> None:
        """Count a difference; `example` says where it is and what it is."""
        self.counts[kind] += 1
        if len(self.examples[kind]) < EXAMPLES:
            self.examples[kind].append(example)


def order_name(key: bytes | None) -> str:
    """Return an order id for an output line: escaped, and cut to 100 characters."""
    return "no key" if key is None else f'order "{shown(key.decode(errors="replace"))}"'
