"""What an operator does who follows the line of a stop: the ways on that the line names, in its words."""

import re
import time
from dataclasses import dataclass
from typing import Any

OUTPUTS = ("group_id", "facts_topic", "rejected_topic")


@dataclass(frozen=True)
class Way:
    """A way on: the words that name it in a line, and what the operator does; `take` gives a refusal's line, or None.

    One that is patient waits, and may be taken again. After a new life all events are processed once more.
    """

    name: str
    words: str
    take: Any
    is_patient: bool = False
    is_new_life: bool = False


def _renew(world):
    """Take new outputs and a new group, and read all events again."""
    world.fresh_names(*OUTPUTS)
    world.create_missing_topics()


def _wait_for_end(world):
    world.await_no_members()
    return world.recover()


def _wait(world):
    time.sleep(1.0)
    return world.recover()


def _accept_new_contacts(world):
    world.start_index("--accept-new-topic")


WAYS = (
    Way("wait for the replicas' end", r"stop them first", _wait_for_end, is_patient=True),
    Way("try again", r"try again in half a minute", _wait, is_patient=True),
    Way("adopt the outputs", r"state recover --adopt-unmarked", lambda world: world.recover("--adopt-unmarked")),
    Way("accept the loss", r"state recover --accept-loss", lambda world: world.recover("--accept-loss")),
    Way("recover", r"`?order-facts state recover`?(?! --)", lambda world: world.recover()),
    Way("create topics", r"create with: order-facts topics create|create it with", lambda w: w.create_missing_topics()),
    Way("accept the new contacts", r"--accept-new-topic", _accept_new_contacts),
    Way(
        "copy the events", r"Add partitions|Partitions were added", lambda world: world.copy_events(), is_new_life=True
    ),
    Way("start again", r"start again", lambda _world: None),
    Way("new group and outputs", r"take a new group_id|new group_id with a new facts_topic", _renew, is_new_life=True),
)


def ways_of(line):
    """Give the ways on that a line names, in the order in which an operator tries them."""
    return [way for way in WAYS if re.search(way.words, line)]
