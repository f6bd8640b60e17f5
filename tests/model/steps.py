"""The steps of the model: what producers, operators, retention and accidents do to a deployment.

A step is a name and arguments that were drawn without looking at the world (parts of one, seeds), so that any selection
of a plan's steps is a plan again. A step that makes no sense at its moment is skipped. The last step of each plan is a
run.
"""

import random
from dataclasses import dataclass
from typing import Any

from processor.settings.definitions import IdentificationRule
from tests.model.estate import QUICK, ROLES, Skipped
from tests.support.traffic import contacts, poison, traffic

ORDERS = 4
BUYERS = 6
MOMENTS = [
    *(f"{when} {step}" for step in ("look up", "fold", "commit", "mirror") for when in ("before", "after")),
    *("after flush", "before end"),
]
PROPERTIES = [
    *({}, {"delivery.report.only.error": True}, {"linger.ms": 0}, {"compression.type": "lz4"}, {"check.crcs": True}),
    *({"queued.min.messages": 1}, {"fetch.wait.max.ms": 1}, {"allow.auto.create.topics": True}),
    *({"max.poll.interval.ms": 300_000}, {"topic.metadata.refresh.interval.ms": 300}, {"batch.num.messages": 1}),
    *({"retries": 0}, {"socket.keepalive.enable": True}, {"queue.buffering.max.messages": 10}),
    *({"message.timeout.ms": 1_000}, {"client.rack": "a"}, {"connections.max.idle.ms": 1_000}),
]


@dataclass(frozen=True)
class Step:
    """One step of a plan."""

    name: str
    arguments: dict

    def __str__(self):
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.name}({arguments})"


# --- what producers do ---------------------------------------------------------------------------------


def produce(world, count, seed):
    """Send orders' events as a shop does, some of them wrong."""
    world.produce("events", traffic(seed, count, orders=ORDERS))


def hostile(world, seed):
    """Send records that must be refused: without a key or a value, no Avro, nested too deep."""
    records = list(poison(max_event_bytes=2_000_000).values())
    world.produce("events", random.Random(seed).sample(records, 4))


def change_contacts(world, seed):
    """Change a contact's phone, or delete it; only after a run that got through, which knew the earlier ones."""
    if not world.is_quiet:
        raise Skipped("a crashed run may have used the contacts as they are")
    source = random.Random(seed)
    number = source.randrange(BUYERS)
    contact = contacts()[number] | {"phone": f"+999{source.randrange(BUYERS):06}"}
    world.produce_contacts([contact], deleted=[f"c{number}"] if source.random() < 0.3 else [])


# --- runs ----------------------------------------------------------------------------------------------


def run(world, replicas, batch, verify):
    """Run replicas until all events are processed, whatever an operator has to do for it."""
    world.run(lambda: [world.replica(f"r{number}", max_batch=batch) for number in range(replicas)])
    if verify:
        world.verify()


def crash(world, moment, batch):
    """Have a replica killed at a moment of one of its batches, if it gets there."""
    world.crash(lambda: world.sabotaged("r0", moment, batch, "SIGKILL", max_batch=2))


def recover(world):
    """Run `state recover` without being asked to; what it says is not followed."""
    world.await_no_members()
    line = world.recover()
    if line is not None:
        world.say(f"refused: {line}")


# --- accidents with Redis ------------------------------------------------------------------------------


def flush(world):
    """Have Redis lose everything."""
    world.redis.flushdb()


def keep_copy(world):
    """Copy all that is in Redis, for `restore`."""
    world.copy = {key: world.redis.dump(key) for key in world.all_keys()}


def restore(world):
    """Restore Redis from the copy."""
    if world.copy is None:
        raise Skipped("there is no copy")
    world.redis.flushdb()
    for key, value in world.copy.items():
        world.redis.restore(key, 0, value)


def drop_key(world, part):
    """Have Redis lose one key."""
    world.redis.unlink(world.some_key(part))


def damage_key(world, part, how):
    """Put into a key what nobody wrote: another type, another mark."""
    key = world.some_key(part)
    if how == "type":
        world.redis.set(key, "damaged")
    elif b":contacts:" in key:
        world.redis.hset(key, "mark" if how == "text" else "position", "damaged")
    else:
        world.redis.hset(key, "", {"text": "damaged", "beyond": "900 900", "negative": "-5 -5"}[how])
    world.damages.append("a damaged key")


# --- accidents with Kafka ------------------------------------------------------------------------------


def expire_offsets(world):
    """Have Kafka forget the group, which had no members for a week."""
    world.await_no_members()
    if not world.offsets():
        raise Skipped("the group has no offsets")
    world.forget_group()
    world.damages.append("lost offsets")


def move_offset(world, part, by, metadata):
    """Move a committed offset back or forward, with its metadata or, as Kafka's own tool does, without."""
    partition, (offset, kept) = world.some_offset(part)
    world.set_offset(partition, max(0, offset + by), kept if metadata else "")
    world.damages.append("a moved offset")


def retain(world, role, part, fraction):
    """Delete a part of a partition's records, as retention does."""
    topic = world.topic(role)
    partition = int(part * topic.partitions)
    start = world.cluster.starts(topic.name, [partition])[partition]
    end = world.cluster.ends(topic.name, [partition])[partition]
    offset = start + round((end - start) * fraction)
    if offset <= start:
        raise Skipped("nothing to delete")
    if role == "rejected":
        world.books.expire_rejected(partition, offset)
    world.books.look()
    world.delete_below(role, partition, offset)
    world.damages.append(f"deleted {role}")


def recreate(world, role):
    """Delete a topic, and create it again."""
    if role == "contacts" and not world.is_quiet:
        raise Skipped("a crashed run may have used the contacts as they are")
    world.books.look()
    if role == "rejected":
        for partition in range(world.topic(role).partitions):
            world.books.expire_rejected(partition, float("inf"))
    world.recreate(role)
    if role == "contacts":
        world.produce_contacts(contacts()[:BUYERS])
    world.damages.append(f"recreated {role}")


def grow(world, roles):
    """Add a partition to topics; before the first run nobody can know that there were fewer."""
    if "events" in roles and not world.offsets():
        raise Skipped("nothing was processed")
    for role in roles:
        world.grow(role)
    world.damages.append("more partitions")


def foreign_rejected(world, part, ahead):
    """Have another shop, with its own events, write to the same rejected topic."""
    world.write_foreign_rejected(part, ahead)


# --- changes of settings -------------------------------------------------------------------------------


def other_names(world, fields):
    """Give other names to the group or to topics, and create what is missing."""
    if not world.is_quiet:
        raise Skipped("only after a run that got through")
    world.fresh_names(*fields)
    world.create_missing_topics()
    world.damages.append("other names")


def back(world):
    """Go back to the names before."""
    if not world.earlier or not world.is_quiet:
        raise Skipped("there are no names before")
    world.swap_names()
    world.damages.append("other names")


def other_rules(world, on_owner_conflict, on_duplicate_create, token):
    """Treat orders otherwise, identify contacts otherwise."""
    if not world.is_quiet:
        raise Skipped("a crashed run used the rules as they are")
    rules = (IdentificationRule("token", "loyaltyToken"), IdentificationRule("phone", "phone")) if token else ()
    world.change(on_owner_conflict=on_owner_conflict, on_duplicate_create=on_duplicate_create, identification=rules)


def other_key(world, number):
    """Take another secret of the contact index."""
    world.change(identifier_key=f"a secret of the tests, {number}")


def other_properties(world, properties):
    """Take other properties of the Kafka client; those that a command refuses by name are taken back."""
    world.change(kafka=QUICK | properties)
    done = world.command("topics", "create", check=False)
    if done.returncode == 2 and "setting kafka" in done.stderr:
        world.change(kafka=QUICK)
        raise Skipped(done.stderr.strip())
    world.damages.append("properties")


# --- plans ---------------------------------------------------------------------------------------------

_SOME = ["events"], ["facts"], ["rejected"], ["contacts"], ["facts", "rejected"], ["events", "facts", "rejected"]
_NAMES = ["group_id"], ["facts_topic"], ["rejected_topic"], ["group_id", "facts_topic"]
# weight, step, how its arguments are drawn
DRAWN: list[tuple[int, Any, Any]] = [
    (14, produce, lambda r: {"count": r.choice([1, 3, 8, 20]), "seed": r.randrange(10_000)}),
    (2, hostile, lambda r: {"seed": r.randrange(10_000)}),
    (3, change_contacts, lambda r: {"seed": r.randrange(10_000)}),
    (
        14,
        run,
        lambda r: {"replicas": r.choice([1, 1, 1, 2]), "batch": r.choice([1, 3, 500]), "verify": r.random() < 0.4},
    ),
    (7, crash, lambda r: {"moment": r.choice(MOMENTS), "batch": r.randrange(1, 4)}),
    (2, recover, lambda _: {}),
    (4, flush, lambda _: {}),
    (3, keep_copy, lambda _: {}),
    (4, restore, lambda _: {}),
    (3, drop_key, lambda r: {"part": r.random()}),
    (3, damage_key, lambda r: {"part": r.random(), "how": r.choice(["type", "text", "beyond", "negative"])}),
    (4, expire_offsets, lambda _: {}),
    (4, move_offset, lambda r: {"part": r.random(), "by": r.choice([-5, -1, 1, 2, 50]), "metadata": r.random() < 0.4}),
    (
        4,
        retain,
        lambda r: {
            "role": r.choice(["events", "events", "rejected", "facts"]),
            "part": r.random(),
            "fraction": r.choice([0.3, 0.7, 1.0]),
        },
    ),
    (3, recreate, lambda r: {"role": r.choice(ROLES)}),
    (3, grow, lambda r: {"roles": r.choice(_SOME)}),
    (2, foreign_rejected, lambda r: {"part": r.random(), "ahead": r.choice([0, 1, 40])}),
    (3, other_names, lambda r: {"fields": r.choice(_NAMES)}),
    (3, back, lambda _: {}),
    (
        2,
        other_rules,
        lambda r: {
            "on_owner_conflict": r.choice(["reject", "reassign"]),
            "on_duplicate_create": r.choice(["ignore", "update"]),
            "token": r.random() < 0.5,
        },
    ),
    (1, other_key, lambda r: {"number": r.randrange(3)}),
    (2, other_properties, lambda r: {"properties": r.choice(PROPERTIES)}),
]
ACTIONS = {act.__name__: act for _, act, _ in DRAWN}
FINISH = Step("run", {"replicas": 1, "batch": 500, "verify": True})


def plan(source, length):
    """Draw a plan: some events and a run, then anything, then a run and an audit."""
    steps = [Step("produce", {"count": 8, "seed": source.randrange(10_000)})]
    if source.random() < 0.8:
        steps.append(Step("run", {"replicas": 1, "batch": 500, "verify": False}))
    kinds = source.choices(DRAWN, [weight for weight, _, _ in DRAWN], k=length)
    steps += [Step(act.__name__, draw(source)) for _, act, draw in kinds]
    return [*steps, Step("produce", {"count": 8, "seed": source.randrange(10_000)}), FINISH]
