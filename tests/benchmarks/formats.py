"""The two wire formats, the same events worked off in turns; and decoding alone, of a foreign writer's events too."""

import io
import itertools
import json
import time
from contextlib import closing

import fastavro
from confluent_kafka.schema_registry import SchemaRegistryClient

from deploy.local.embedded_registry import EmbeddedRegistry
from processor.codec.avro import codec
from processor.registry.framing import prefix_of
from processor.registry.wire import Wire
from processor.registry.writer_schema import writer_of
from processor.settings import Settings
from tests.benchmarks import load, run
from tests.benchmarks.audit import Expected
from tests.benchmarks.figures import spread, spreads
from tests.benchmarks.programs import PROGRAMS, Job
from tests.benchmarks.stage import PARTITIONS
from tests.support.registered import Registered
from tests.support.schemas import schema_of
from tests.support.traffic import Sent

FORMATS = ("single-object", "confluent")
DECODED = 20_000  # events, of the same traffic
ROUNDS = 7
HEADER_BYTES = 10
ADDED = (
    {"name": "traceId", "type": ["null", "string"], "default": None},
    {"name": "sentAt", "type": "long", "default": 0},
)


def measure(stage, options, say):
    """Run order-facts on both formats, in turns, and the decoders; give figures by format, and ratios."""
    registry = EmbeddedRegistry(stage.folder / "registry", abandoned=stage.folder)
    registry.start()
    try:
        with closing(SchemaRegistryClient({"url": registry.url})) as client:
            runs = _runs(stage, options, say, registry.url, client)
    finally:
        registry.kill()
    ratios = [
        other["events_per_s"] / one["events_per_s"]
        for one, other in zip(*(runs[name] for name in FORMATS), strict=True)
    ]
    decoded = _decoded()
    say(f"decoding: {decoded}")
    return {
        "events": options.events,
        "formats": {name: spreads(found) for name, found in runs.items()},
        "ratio": spread(ratios),
        "decoded": decoded,
    }


def _runs(stage, options, say, url, client):
    contacts = stage.with_contacts(options.contacts).settings.contacts_topic
    shops, expected = {}, {}
    for name in FORMATS:
        given = {} if name == "single-object" else {"wire_format": name, "schema_registry_url": url}
        shop = Registered(stage.settings(contacts_topic=contacts, **given), stage.folder)
        shop.command("topics", "create", partitions=PARTITIONS)
        if given:
            shop.register(client)
        traffic = load.Traffic(contact_count=options.contacts).events(options.events)
        framed = (Sent(record.key, shop.framed(record.value), record.is_undecodable) for record in traffic)
        count = stage.send(shop.settings.events_topic, framed)
        shops[name], expected[name] = shop, Expected(stage, shop.settings, plain=shop.plain)
    runs: dict[str, list[dict]] = {name: [] for name in FORMATS}
    for repetition in range(options.repeat):
        for name in FORMATS[:: 1 if repetition % 2 == 0 else -1]:
            figures = _run(stage, shops[name], count, expected[name])
            runs[name].append(figures)
            say(f"{name}: {figures['events_per_s'] or 0:,.0f} events/s, {figures['cpu_us']:.1f} us an event")
    return runs


def _run(stage, shop, count, expected):
    inputs = {name: getattr(shop.settings, name) for name in ("events_topic", "contacts_topic")}
    settings = stage.settings(
        **inputs, wire_format=shop.settings.wire_format, schema_registry_url=shop.settings.schema_registry_url
    )
    deployment = stage.deployment(settings)
    if settings.schema_registry_url is not None:
        deployment.command("schemas", "register")
    job = Job(deployment, deployment.folder)
    done = run.measure(stage, lambda: [run.start(stage, PROGRAMS["order-facts"], job)], settings, count)
    expected.check(stage, settings)
    stage.remove(deployment)
    return done.figures


def _decoded():
    """Give the events that a second decodes: ours in both formats, and those of a schema with two fields more."""
    ours, foreign = schema_of("order-event"), schema_of("order-event")
    foreign["fields"] = [*foreign["fields"], *ADDED]
    plain = [
        record.value
        for record in itertools.islice(load.Traffic().events(DECODED), DECODED)
        if not record.is_undecodable and record.value
    ]
    wire = Wire(Settings(wire_format="confluent", schema_registry_url="http://localhost:1"))
    assert wire.writers is not None
    for schema_id, schema in ((1, ours), (2, foreign)):
        wire.writers.add(prefix_of(schema_id), writer_of(json.dumps(schema), []))
    parsed = fastavro.parse_schema(foreign)
    widened = []
    for value in plain:
        body = io.BytesIO()
        fastavro.schemaless_writer(body, parsed, codec().decode_event(value) | {"traceId": "a" * 32, "sentAt": 1})
        widened.append(prefix_of(2) + body.getvalue())
    kinds = {
        "single-object": (codec().read_event, plain),
        "confluent": (wire.read_event, [prefix_of(1) + value[HEADER_BYTES:] for value in plain]),
        "two fields more": (wire.read_event, widened),
    }
    best = dict.fromkeys(kinds, float("inf"))
    for _ in range(ROUNDS):
        for name, (read, values) in kinds.items():
            begun = time.perf_counter()
            for value in values:
                read(value, ())
            best[name] = min(best[name], time.perf_counter() - begun)
    return {name: len(plain) / seconds for name, seconds in best.items()}
