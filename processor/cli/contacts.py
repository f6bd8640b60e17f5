"""`order-facts contacts index | import | find`."""

import functools

import click
import msgspec

from processor.cli.contact_files import contact_entries, contact_record
from processor.cli.options import CONNECTION, IDENTIFYING, REDIS, SERVED, WIRE, print_line, with_settings
from processor.cli.sending import Sender
from processor.cli.serving import calm_collector, serving
from processor.contacts.keeper import IndexKeeper
from processor.domain.identifiers import BUILT_IN_FIELDS, candidates
from processor.errors import UsageError
from processor.registry.wire import Wire
from processor.replica import startup
from processor.settings import Settings
from processor.settings.rules import identification_of

contacts = click.Group("contacts", help="Import contacts, keep their index, find a contact.")


@contacts.command()
@click.option("--accept-new-topic", is_flag=True, help="Build the index from a contacts topic that was recreated.")
@click.option(
    "--skip",
    "skips",
    metavar="PARTITION:OFFSET",
    multiple=True,
    help="Step over this place, which the log line names, if it cannot be read. Its contacts must be sent again.",
)
@with_settings("contacts_topic", *IDENTIFYING, *SERVED, *CONNECTION, *WIRE, *REDIS)
def index(settings: Settings, *, accept_new_topic: bool, skips: tuple[str, ...]) -> None:
    """Keep the contact index in Redis up to date until SIGTERM or SIGINT. Run only one.

    Orders wait while the index is missing or being built.
    """
    with serving(settings) as stop:
        places = [_place(text) for text in skips]
        keeper = IndexKeeper(settings, stop, accept_new_topic=accept_new_topic, skips=places)
        calm_collector()
        stop.is_working = True
        keeper.run()


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise UsageError(f"--skip {text}: put a partition and an offset there, such as 0:17")
    return int(partition), int(offset)


@contacts.command(name="import")
@click.argument("file")
@with_settings("contacts_topic", *CONNECTION, *WIRE)
def import_(settings: Settings, file: str) -> None:
    """Send contacts from FILE to the contacts topic: CSV (by its name, .csv) or JSON lines.

    CSV needs the column contactId and may have externalCustomerId, email, phone, contactKey and pushTokens
    (separate several by spaces). Any other column is a further field. A JSON line is an object with the same
    names: pushTokens is an array, further fields are in the object `fields`. Both replace the whole contact.
    {"contactId": "...", "deleted": true} deletes it.
    """
    entries = contact_entries(file, "Sending contacts")
    to_record = functools.partial(contact_record, encode=Wire(settings).encode_contact)
    Sender(settings, settings.contacts_topic).send_all(entries, to_record, "a Contact")


@contacts.command()
@click.argument("identifier", metavar="NAME=VALUE")
@with_settings("contacts_topic", *IDENTIFYING, *CONNECTION, *REDIS)
def find(settings: Settings, identifier: str) -> None:
    """Find the contact that an event's parameter NAME with VALUE identifies, as the processor would.

    Exits with 1 if no contact is found.
    """
    name, separator, value = identifier.partition("=")
    rules = identification_of(settings)
    tried = candidates([(name, value)], rules)
    if not separator or not tried:
        known = ", ".join(dict.fromkeys((*BUILT_IN_FIELDS, *(rule.parameter for rule in settings.identification))))
        raise UsageError(f"expected NAME=VALUE with a name that identifies a contact, such as {known}")
    found = startup.check(settings)
    for candidate in tried:
        contact_id = found.index.find(candidate.identifier) if candidate.identifier else None
        if contact_id is not None:
            print_line(msgspec.json.encode({"contactId": contact_id, "identifiedBy": candidate.field}))
            return
    click.echo(f"order-facts: no contact found by {name}", err=True)
    raise click.exceptions.Exit(1)
