"""The demonstration, `make run`: real invoices become facts on a real Kafka and Redis.

Starts the services, then uses only the public commands, as a user would: topics, contacts, the contact index, two
processors, the events. It reads every total that it shows back from the topics. Leaves no process and no temporary
data behind, however it ends. Exit codes: 0 all events are accounted for; 1 something is missing or a command failed;
2 a file it cannot use; 3 no services; 128 + n ended by signal n (130: Ctrl-C).

    python -m deploy.demo.demo [--keep] [--csv PATH] [--registry]
"""

import argparse
import json
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from deploy.demo import asking, late, report
from deploy.demo.invoices import RetailFileError, read_invoices
from deploy.demo.retail import contacts, order_events, write_json_lines
from deploy.demo.segments import Facts, questions_of, read_facts, read_rejected
from deploy.local.children import Child, ChildFailedError, Children, Interrupted, Interruptions
from deploy.local.embedded_registry import EmbeddedRegistry
from deploy.local.services import Services, ServicesError, start_services

SAMPLE = Path(__file__).parents[2] / "tests" / "data" / "online_retail_sample.csv.gz"
# This virtual environment's console script.
COMMAND = Path(sys.executable).parent / "order-facts"
REPLICAS = ("demo-1", "demo-2")
STALL_S = 60.0
PIPE_WIDTH = 120
WATCH_INTERVAL_S = 0.1
KEEP_INTERVAL_S = 0.5
PREFIX = "ORDER_FACTS_"
TOPICS = {
    "EVENTS_TOPIC": "order-events",
    "CONTACTS_TOPIC": "contacts",
    "FACTS_TOPIC": "order-facts",
    "REJECTED_TOPIC": "order-events-rejected",
    "HEALED_TOPIC": "order-events-healed",
    "SEGMENT_MEMBERS_TOPIC": "segment-members",
}


class UnaccountedError(Exception):
    """Facts and rejected records do not add up to the events sent."""


@dataclass(frozen=True, slots=True)
class Input:
    """The converted file, ready to send; example_contact_id is one of its contacts, empty if it has none.

    The late contacts are sent after all events; late_orders are their orders.
    """

    contacts: Path
    contact_count: int
    late_contacts: Path
    late_count: int
    late_orders: frozenset[str]
    events: Path
    event_count: int
    example_contact_id: str


@dataclass(frozen=True, slots=True)
class Followers:
    """The commands that print both outputs as they come."""

    facts: Child
    rejected: Child


@dataclass(frozen=True, slots=True)
class Processed:
    """How many events were sent, and the time from the start of sending to the last output seen."""

    sent: int
    elapsed_s: float


class LineCounter:
    """Counts the lines of a file that a child is still writing; reads each byte once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._count = 0

    def count(self) -> int:
        """Return the number of lines written so far."""
        with self._path.open("rb") as stream:
            stream.seek(self._position)
            while chunk := stream.read(1 << 20):
                self._position += len(chunk)
                self._count += chunk.count(b"\n")
        return self._count


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo.demo", description="Show orders becoming facts.")
    parser.add_argument("--keep", action="store_true", help="keep running afterwards, to send your own events")
    parser.add_argument("--registry", action="store_true", help="use wire_format=confluent, with a schema registry")
    parser.add_argument("--csv", type=Path, default=SAMPLE, help="another file with the sample's columns")
    options = parser.parse_args(arguments)
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    console = Console(markup=False, highlight=False, soft_wrap=True, width=width)
    with Interruptions() as interruptions:
        try:
            demonstrate(console, interruptions, options.csv, keep=options.keep, has_registry=options.registry)
        except RetailFileError as error:
            print(error, file=sys.stderr)
            return 2
        except ServicesError as error:
            print(error, file=sys.stderr)
            return 3
        except (ChildFailedError, UnaccountedError) as error:
            print(error, file=sys.stderr)
            return 1
        except Interrupted as interrupted:
            console.print("Stopped; nothing is left running.")
            return interrupted.exit_code
    return 0


def demonstrate(
    console: Console, interruptions: Interruptions, csv: Path, *, keep: bool, has_registry: bool = False
) -> None:
    """Convert the file, start services and commands, account for every event and show the result; then end, or stay."""
    with tempfile.TemporaryDirectory(prefix="order-facts-demo-") as folder_name:
        folder = Path(folder_name)
        console.print(f"Reading {csv.name}")
        data = convert(csv, folder)
        console.print(
            f"  {data.contact_count:,} contacts, {data.event_count:,} order events; "
            f"{data.late_count:,} more contacts come after their orders"
        )
        console.print("Starting Kafka, Redis and a schema registry" if has_registry else "Starting Kafka and Redis")
        with start_services() as services, ExitStack() as ending:
            settings = settings_for(services)
            if has_registry:
                registry = EmbeddedRegistry(folder / "registry", abandoned=folder)
                ending.callback(registry.kill)
                registry.start()
                settings |= {f"{PREFIX}WIRE_FORMAT": "confluent", f"{PREFIX}SCHEMA_REGISTRY_URL": registry.url}
            environment = {**clean_environment(services), **settings}
            with Children(COMMAND, folder, environment, interruptions) as children:
                console.print("Creating topics, importing contacts, starting the contact index and two replicas")
                followers = prepare(children, data, has_registry=has_registry)
                console.print("Sending the order events")
                processed = process(console, children, data, followers)
                healed = heal(console, children, data, followers, processed.sent)
                children.stop(followers.facts, followers.rejected)
                show(console, children, processed, healed, folder)
                if not services.disposable:
                    console.print(f"\n{report.left_behind_text(settings)}")
                if keep:
                    stay(console, children, report.keep_text(settings, COMMAND, data.example_contact_id))


def convert(csv: Path, folder: Path) -> Input:
    """Turn the file into the inputs of `contacts import` and `events send`."""
    invoices = read_invoices(csv)
    known, late_ones = late.split(contacts(invoices))
    contacts_file, events_file = folder / "contacts.jsonl", folder / "events.jsonl"
    late_file = folder / "late-contacts.jsonl"
    return Input(
        contacts=contacts_file,
        contact_count=write_json_lines(known, contacts_file),
        late_contacts=late_file,
        late_count=write_json_lines(late_ones, late_file),
        late_orders=late.orders_of(invoices, late_ones),
        events=events_file,
        event_count=write_json_lines(order_events(invoices), events_file),
        example_contact_id=known[0].contact_id if known else "",
    )


def settings_for(services: Services) -> dict[str, str]:
    """Return the settings that all commands share; on other people's services with names that nobody uses."""
    suffix = "" if services.disposable else f"-demo-{secrets.token_hex(4)}"
    names = {"GROUP_ID": "order-facts", **TOPICS}
    return {
        f"{PREFIX}BOOTSTRAP_SERVERS": services.bootstrap_servers,
        f"{PREFIX}REDIS_URL": services.redis_url,
        f"{PREFIX}IDENTIFIER_KEY": secrets.token_hex(32),
        **{PREFIX + name: value + suffix for name, value in names.items()},
    }


def clean_environment(services: Services) -> dict[str, str]:
    """Return this process's environment without settings of the program: they would change the result.

    On other people's services the setting `kafka` stays: it says how to log in.
    """
    kept = () if services.disposable else (f"{PREFIX}KAFKA", f"{PREFIX}KAFKA_FILE")
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) or name in kept}


def prepare(children: Children, data: Input, *, has_registry: bool = False) -> Followers:
    """Create the topics, then start everything but the sender.

    The index starts when all contacts are in their topic, since it is complete up to the end it finds there. Orders
    wait for it (C4), so the events need not.
    """
    children.finish(children.begin("topics create", "topics", "create"))
    if has_registry:
        children.finish(children.begin("schemas register", "schemas", "register"))
    contacts_import = children.begin("contacts import", "contacts", "import", str(data.contacts))
    for replica in REPLICAS:
        children.serve(f"processor {replica}", "run", environment={f"{PREFIX}INSTANCE_ID": replica})
    followers = Followers(
        facts=children.serve("facts show --follow", "facts", "show", "--follow"),
        rejected=children.serve("rejected show --follow", "rejected", "show", "--follow"),
    )
    children.finish(contacts_import)
    children.serve("contacts index", "contacts", "index")
    children.serve("rejected replay --follow", "rejected", "replay", "--follow")
    return followers


def process(console: Console, children: Children, data: Input, followers: Followers) -> Processed:
    """Send the events and watch both outputs until they account for all. Raises UnaccountedError if they stall."""
    facts, rejected = LineCounter(followers.facts.output), LineCounter(followers.rejected.output)
    started_s = changed_s = time.monotonic()
    sender = children.begin("events send", "events", "send", str(data.events))
    counts = report.Counts(sent=None, facts=0, rejected=0)
    with report.progress(console, data.event_count) as show_progress:
        while counts.sent is None or counts.accounted < counts.sent:
            children.check()
            sent = sent_count(sender.output) if sender.guard.poll() == 0 else None
            before, counts = counts, report.Counts(sent, facts.count(), rejected.count())
            show_progress(counts)
            if counts.accounted != before.accounted:
                changed_s = time.monotonic()
            elif time.monotonic() - changed_s > STALL_S:
                raise UnaccountedError(f"{report.stall_text(counts, STALL_S)}\n{children.last_log_lines()}")
            time.sleep(WATCH_INTERVAL_S)
    return Processed(counts.sent, changed_s - started_s)


def heal(console: Console, children: Children, data: Input, followers: Followers, sent: int) -> int:
    """Import the late contacts, and watch their orders become facts by themselves; return how many events went back.

    Raises UnaccountedError if that stalls.
    """
    with followers.rejected.output.open(encoding="utf-8") as lines:
        waiting = late.healable(lines, data.late_orders)
    console.print(f"{waiting:,} events were rejected because their contact is not there yet: importing it now")
    facts, rejected = LineCounter(followers.facts.output), LineCounter(followers.rejected.output)
    before = counts = report.Counts(sent + waiting, facts.count(), rejected.count())
    changed_s = time.monotonic()
    children.finish(children.begin("contacts import late", "contacts", "import", str(data.late_contacts)))
    while counts.accounted < sent + waiting:
        children.check()
        seen, counts = counts, report.Counts(sent + waiting, facts.count(), rejected.count())
        if counts.accounted != seen.accounted:
            changed_s = time.monotonic()
        elif time.monotonic() - changed_s > STALL_S:
            raise UnaccountedError(f"{report.stall_text(counts, STALL_S)}\n{children.last_log_lines()}")
        time.sleep(WATCH_INTERVAL_S)
    console.print(f"  `rejected replay --follow` sent them back: {counts.facts - before.facts:,} more facts")
    return waiting


def sent_count(output: Path) -> int:
    """Return the number in the summary line of `events send`."""
    return int(json.loads(output.read_text(encoding="utf-8"))["sent"])


def show(console: Console, children: Children, processed: Processed, healed: int, folder: Path) -> None:
    """Read both topics from their start and show them. Raises UnaccountedError if they do not add up to the input."""
    events = processed.sent + healed
    facts, rejected = read_outputs(children)
    console.print()
    console.print(report.outcome_table(facts, rejected, processed.sent, healed), soft_wrap=False)
    console.print(report.rate_line(processed.sent, processed.elapsed_s, len(REPLICAS)))
    if facts.example is not None:
        console.print(f"\nOne fact in full\n{report.fact_text(facts.example)}")
    accounted = facts.count_by_type.total() + rejected.total()
    if accounted != events:
        raise UnaccountedError(f"{events:,} events sent or sent back, but facts + rejected = {accounted:,}")
    asking.ask(console, children, questions_of(facts), folder, COMMAND)


def read_outputs(children: Children) -> tuple[Facts, Counter[tuple[str, str]]]:
    """Read all facts and rejected records that are there."""
    shown_facts = children.begin("facts show", "facts", "show")
    shown_rejected = children.begin("rejected show", "rejected", "show")
    with children.finish(shown_facts).open(encoding="utf-8") as lines:
        facts = read_facts(lines)
    with children.finish(shown_rejected).open(encoding="utf-8") as lines:
        return facts, read_rejected(lines)


def stay(console: Console, children: Children, text: str) -> None:
    """Print how to continue by hand, and keep everything running until a signal comes."""
    console.print(f"\n{text}")
    while True:
        children.check()
        time.sleep(KEEP_INTERVAL_S)


if __name__ == "__main__":
    sys.exit(main())
