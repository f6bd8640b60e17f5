"""Item 6: what an event costs order-facts when many orders, or many contacts, are already there.

Orders are put into the mirror directly: a replica first works off a small input, so that mirror and committed offsets
agree; then the partitions' hashes get more fields, copies of the orders that it wrote. The facts topic does not know
them, which only a catch-up would notice. The events that are measured are for these orders, in random order.
"""

from msgspec.structs import replace

from processor.codec.order_state import state_of
from tests.benchmarks import load, run
from tests.benchmarks.stage import PARTITIONS, mirror_of, remove_mirror
from tests.benchmarks.throughput import step_shares, summary

ORDERS = (10_000, 100_000, 1_000_000)
IDENTIFIERS = (100_000, 1_000_000)
LARGE = 10_000_000
BEFORE = 6_000  # events of the small input
ELSEWHERE = 800_000_000  # their orders' first number
CHUNK = 1_000
LEAST_FACTS = 0.9  # of the measured events: else they did not find their orders


def measure_orders(stage, options, say):
    """Give the figures by the number of orders."""
    contacts = stage.with_contacts(options.contacts).settings.contacts_topic
    sizes = [*ORDERS, LARGE] if options.large else ORDERS
    runs: dict[str, list[dict]] = {str(size): [] for size in sizes}
    for _ in range(options.repeat):
        for size in sizes:
            figures = _with_orders(stage, options, stage.settings(contacts_topic=contacts), size)
            runs[str(size)].append(figures)
            say(f"{size:,} orders: {figures['cpu_us']:.1f} us an event")
    return {"events": state_events(options), "sizes": {size: summary(found) for size, found in runs.items()}}


def measure_identifiers(stage, options, say):
    """Give the figures by the number of identifiers, and what building the index costs."""
    sizes = [*IDENTIFIERS, LARGE] if options.large else IDENTIFIERS
    found = {}
    for size in sizes:
        runs = _with_contacts(stage, options, size)
        found[str(size)] = summary(runs)
        say(f"{size:,} identifiers: {found[str(size)]['cpu_us']['median']:.1f} us an event")
    return {"events": state_events(options), "sizes": found}


def state_events(options):
    """Give how many events are measured at each size."""
    return max(CHUNK, options.events // 3)


def _with_orders(stage, options, settings, size):
    deployment = stage.deployment(settings)
    small = load.Traffic(contact_count=options.contacts, first=ELSEWHERE)
    stage.send(settings.events_topic, small.events(BEFORE), _partition_of)
    run.measure(stage, lambda: [run.replica(stage, deployment)], settings, BEFORE)
    mirror = mirror_of(settings)
    before_bytes = stage.redis_bytes()
    _fill(stage, mirror, options.contacts, size)
    order_bytes = (stage.redis_bytes() - before_bytes) / size
    traffic = load.Traffic(contact_count=options.contacts, existing=size)
    count = BEFORE + stage.send(settings.events_topic, traffic.events(state_events(options)), _partition_of)
    figures = _measured(stage, deployment, count, BEFORE)
    remove_mirror(mirror)
    stage.remove(deployment)
    return figures | {"bytes_an_order": order_bytes}


def _fill(stage, mirror, contact_count, size):
    """Put orders with the numbers up to `size` into the mirror, each on its partition, alike to those there."""
    templates = _templates(stage, mirror)
    pipeline = stage.client.pipeline(transaction=False)
    for start in range(0, size, CHUNK * PARTITIONS):
        for partition in range(PARTITIONS):
            values = {}
            for number in range(start + partition, min(size, start + CHUNK * PARTITIONS), PARTITIONS):
                name = load.order_id(number)
                contact_id = f"c{load.contact_of(number, contact_count)}"
                order = replace(templates[number % len(templates)], external_order_id=name, contact_id=contact_id)
                values[name] = state_of(order)
            if values:
                pipeline.hset(mirror.key(partition), mapping=values)
        pipeline.execute()


def _templates(stage, mirror):
    """Give the open orders of one partition's mirror."""
    held = stage.client.hgetall(mirror.key(0))
    names = [name.decode() for name in held if name.strip()]
    _, orders = mirror.read({0: names}, [[None, *(held[name.encode()] for name in names)]])
    return [order for order in orders.values() if order.status == "INITIALIZED"]


def _with_contacts(stage, options, size):
    """Give the figures of every run; the index is built once for all of them."""
    contact_count = size // len(load.identifiers(next(load.contacts(1))))
    deployment = stage.deployment(stage.settings())
    settings = deployment.settings
    stage.send_contacts(deployment, contact_count)
    before_bytes = stage.redis_bytes()
    ready = stage.index(deployment)
    index = {
        "contacts_per_s": ready["records"] / ready["took_ms"] * 1000,
        "identifiers_per_s": size / ready["took_ms"] * 1000,
        "bytes_an_identifier": (stage.redis_bytes() - before_bytes) / size,
    }
    traffic = load.Traffic(contact_count=contact_count)
    count = stage.send(settings.events_topic, traffic.events(state_events(options)))
    stage.remove(deployment)
    inputs = {"events_topic": settings.events_topic, "contacts_topic": settings.contacts_topic}
    runs = []
    for _ in range(options.repeat):
        deployment = stage.deployment(stage.settings(**inputs))
        runs.append(_measured(stage, deployment, count, 0) | index)
        remove_mirror(mirror_of(deployment.settings))
        stage.remove(deployment)
    stage.forget("order-facts:contacts:*")
    return runs


def _measured(stage, deployment, count, before):
    done = run.measure(stage, lambda: [run.replica(stage, deployment)], deployment.settings, count, before)
    shares = step_shares(done.logs)
    facts = shares["facts"] / (count - before)
    assert facts > LEAST_FACTS, f"only {facts:.0%} of the events gave a fact"
    return done.figures | shares


def _partition_of(key):
    return load.number_of(key) % PARTITIONS
