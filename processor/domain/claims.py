"""Who claims an identifier: from a contact's records to the one in force (C1), its identifiers (C2), who wins (C3).

Takes contacts as the contacts topic has them; gives values. The contact index keeps the claims.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from processor.domain.identifiers import BUILT_IN_FIELDS, CONTACT_ID, PUSH_TOKEN, comparable
from processor.domain.records import Identification, Identifier

_SINGLE_FIELDS: Final = tuple(field for field in BUILT_IN_FIELDS if field not in {CONTACT_ID, PUSH_TOKEN})


class Claim(NamedTuple):
    """A contact that has an identifier, by its record in force. The greatest claim wins (C3).

    The latest timestamp; at equal timestamps the greater id, compared by code points.
    """

    timestamp_ms: int
    contact_id: str


class Standing(NamedTuple):
    """Where a contact's last record in one partition stands among those in others. The greatest is in force (C1)."""

    timestamp_ms: int
    offset: int
    partition: int


class ContactChange(msgspec.Struct, frozen=True):
    """A contact's record: its id as bytes (the key), its place in the topic, and what it puts in force.

    `identifiers` are all that find the contact from now on; None means that the contact is deleted (C1).
    """

    contact_id: bytes
    partition: int
    offset: int
    timestamp_ms: int
    identifiers: tuple[Identifier, ...] | None


def identifiers_of(contact_id: str, contact: Mapping[str, Any], rules: Identification) -> tuple[Identifier, ...]:
    """Return what finds a contact, each identifier once (C2).

    `contact_id` is the record's key, whatever the contact says (C1); `contact` has the fields of the Avro
    Contact; of its `fields`, those that `rules` names are indexed (D14). A contact with a blank id, or one over 300
    characters, is found by its other identifiers only.
    """
    phones, fields, tokens = rules.phones, contact["fields"], contact["pushTokens"]
    found = [comparable(CONTACT_ID, contact_id, phones)]
    found += [comparable(field, contact[field], phones) for field in _SINGLE_FIELDS if contact[field] is not None]
    found += [comparable(PUSH_TOKEN, token, phones) for token in tokens]
    # D12: a custom field named like a built-in one is never reached
    found += [comparable(field, fields[field], phones) for field in rules.custom_fields if field in fields]
    identifiers = [identifier for identifier in found if identifier is not None]
    return tuple(identifiers if len(tokens) < 2 else dict.fromkeys(identifiers))  # only tokens can be twice there
