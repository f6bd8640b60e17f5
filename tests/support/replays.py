"""A deployment whose rejected topic a test fills itself, and whose replays it runs, kills and compares."""

import json
import re
import secrets
import time

from msgspec.structs import replace

from processor.kafka.clients import reader
from tests.support.deployment import Deployment, await_condition, deployed
from tests.support.facts import fact_of
from tests.support.group_offsets import committed_offsets
from tests.support.producing import quick_producer
from tests.support.refusals import refusal
from tests.support.traffic import contacts

OPEN = re.compile(r"a transaction of an earlier `rejected replay` of .+ is open: it is running, or it was killed")
FOUND, PARAMETER, EXISTS = "contact_not_found", "invalid_parameter", "order_exists"


class Replays(Deployment):
    """A deployment whose rejected topic a test may fill itself."""

    def replay(self, *options, **changes):
        """Run `rejected replay` and give its line and what it told on standard error."""
        done = self.command("rejected", "replay", *options, **changes)
        return json.loads(done.stdout), done.stderr

    def reject(self, records, partitions=3):
        """Write records as the processor does: a reason each, and what is unusual; orders keep to a partition."""
        producer = quick_producer(self.settings)
        for number, (reason, changes) in enumerate(records):
            partition = changes.get("partition", number % partitions)
            own = {
                "reason": reason,
                "outcome": "ignored" if reason == EXISTS else "invalid",
                "detail": "why",
                "source.topic": self.settings.events_topic,
                "source.partition": str(changes.get("source", partition)),
                "source.offset": str(number),
                "source.timestamp": str(1_700_000_000_000 + number),
            }
            headers = [("n", str(number).encode()), *changes.get("headers", [])]
            headers += [(name, text.encode()) for name, text in own.items()]
            producer.produce(
                self.settings.rejected_topic,
                changes.get("value", f"value {number}".encode()),
                f"order {number % 12}".encode(),
                partition,
                headers=headers,
                timestamp=changes.get("rejected_ms", int(time.time() * 1000)),
            )
        assert producer.flush(30) == 0

    def import_contacts(self, index):
        """Import the contacts by the command, and wait until all are indexed."""
        file = self.folder / "contacts.jsonl"
        file.write_text("\n".join(json.dumps(contact) for contact in contacts()), encoding="utf-8")
        self.command("contacts", "import", str(file))
        await_condition(
            lambda: sum(line["records"] for line in index.lines("contacts.committed")) >= len(contacts()),
            lambda: index.tail("contacts are indexed"),
        )

    def offsets(self):
        """Give the committed offsets of the replay's group."""
        return committed_offsets(self.settings, self.replay_group, self.settings.rejected_topic, range(3))

    @property
    def replay_group(self):
        """The replay's group."""
        return f"{self.settings.group_id}-replay"

    def replay_reader(self):
        """Give a consumer of the replay's group."""
        return reader(self.settings, **{"group.id": self.replay_group})

    def refused_replay(self, *options):
        """Give the line of a replay that must refuse and write nothing."""
        before = self.offsets(), self.numbers()
        line = refusal(self.command("rejected", "replay", *options, check=False), 1)
        assert (self.offsets(), self.numbers()) == before
        return line

    def events(self):
        """Give the events topic's committed records."""
        return self.read(self.settings.events_topic)

    def numbers(self):
        """Give the numbers of the records that came back, by partition, in order."""
        found: dict[int, list[int]] = {}
        for record in self.events():
            found.setdefault(record.partition, []).append(int(dict(record.headers)["n"]))
        return found

    def sabotaged_replay(self, moment, transaction, signal_name, records=10, **changes):
        """Start a replay that signals itself at a moment of its n-th transaction."""
        plan = {"moment": moment, "transaction": transaction, "records": records, "signal": signal_name}
        return self.start(
            *("rejected", "replay"),
            name="replaying",
            module="tests.support.replay_saboteur",
            extra={"TEST_SABOTAGE": json.dumps(plan)},
            **changes,
        )

    def await_replay(self):
        """Run replays until one is not refused for an open transaction."""

        def tried():
            done = self.command("rejected", "replay", check=False)
            if done.returncode == 1:
                assert OPEN.match(refusal(done, 1))
                return None
            return json.loads(done.stdout)

        return await_condition(tried, "the open transaction ends")


def facts_of(deployment):
    """Give all facts by partition, in order, but for the source offset."""
    found = [(r.partition, fact_of(r.value)) for r in deployment.read(deployment.settings.facts_topic)]
    return [(partition, {k: v for k, v in fact.items() if k != "sourceOffset"}) for partition, fact in found]


def facts_with_contacts_first(settings, folder, records, known):
    """Give the facts of a second deployment, to which the same records come once all contacts are known."""
    unique = secrets.token_hex(4)
    roles = ("events", "contacts", "facts", "rejected", "healed", "segment_members")
    topics = {f"{role}_topic": f"{role}-{unique}" for role in roles}
    folder.mkdir()
    with deployed(replace(settings, group_id=f"group-{unique}", **topics), folder) as other:
        other.send_contacts(known)
        other.index()
        producer = quick_producer(other.settings)
        for r in records:
            producer.produce(other.settings.events_topic, r.value, r.key, r.partition, timestamp=r.timestamp_ms)
        assert producer.flush(30) == 0
        replica = other.replica("b")
        other.await_accounted(len(records))
        replica.stop()
        return facts_of(other)
