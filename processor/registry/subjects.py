"""The subjects of a schema registry that this program's topics have, and what is registered there.

A topic's values have the subject `<topic>-value`. `listed` says what is where, `register` registers what is missing,
`own_findings` and `foreign_findings` check schemas, with a registry if there is one. Never deletes a version.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from processor.codec.compatibility import Schema, breaks
from processor.codec.decoders import compile_decoder
from processor.codec.schemas import CONTACT, EVENT, FACT, FRAMING, MEMBER, header_of, schema_texts, wanted_shape
from processor.errors import RegistryError, SchemaRefusedError
from processor.registry.client import Registered, Registry
from processor.registry.transport import MOST_BYTES
from processor.settings import Settings

_BACKWARD: Final = "BACKWARD_TRANSITIVE"  # a new version reads all older ones: processors are rolled out first
_FULL: Final = "FULL_TRANSITIVE"  # and older ones read it: consumers may stay as they are
_REGISTER: Final = "`order-facts schemas register` does it"


class Subject(NamedTuple):
    """A topic's subject, the name of our schemas for it, the level of compatibility, our schemas' texts by version."""

    name: str
    schema: str
    level: str
    texts: dict[int, str]

    @property
    def newest(self) -> str:
        """The text of our newest version."""
        return self.texts[max(self.texts)]


class Finding(NamedTuple):
    """What a check found: `ok`, `warning` or `problem`, and a line of text."""

    kind: str
    text: str


def subject_of(topic: str) -> str:
    """Return the subject of a topic's values."""
    return f"{topic}-value"


def subjects_of(settings: Settings) -> tuple[Subject, ...]:
    """Return the subjects of the topics. Raises StopError where a schema of the installation is broken."""
    inputs = (settings.events_topic, EVENT, _BACKWARD), (settings.contacts_topic, CONTACT, _BACKWARD)
    outputs = (settings.facts_topic, FACT, _FULL), (settings.segment_members_topic, MEMBER, _FULL)
    return tuple(
        Subject(subject_of(topic), schema, level, schema_texts(schema)) for topic, schema, level in (*inputs, *outputs)
    )


def listed(subject: Subject, registry: Registry | None) -> Iterator[str]:
    """Yield a line for each of our versions, and with a registry also for others' versions and the level."""
    others = () if registry is None else registry.versions(subject.name)
    for version, text in subject.texts.items():
        schema = Schema(text)
        line = f"{subject.name}  {subject.schema}.{version}  {schema.name}  {_fingerprint(schema)}"
        if registry is not None:
            found = registry.find(subject.name, text)
            others = tuple(one for one in others if found is None or one.version != found.version)
            line += f"  {_place(found)}" if found else "  not registered"
        yield line
    yield from (f"{subject.name}  not of this program  {_place(one)}" for one in others)
    if registry is not None:
        yield f"{subject.name}  level {registry.level(subject.name) or 'of the whole registry'}"


def register(subject: Subject, registry: Registry) -> Iterator[Finding]:
    """Set the subject's level and register our versions, in order; yield a finding for each.

    The level comes first: another one, such as FORWARD for the whole registry, could refuse the versions. A version
    that the registry refuses is a problem; but an older one of what others write is a warning, where a newer one of
    ours is registered: a producer's serializer was first to register that.
    """
    try:
        yield Finding("ok", _level_set(subject, registry))
    except SchemaRefusedError as error:
        yield Finding("problem", f"{subject.name}: the level {subject.level} is not set: {error}")
        return
    refused: dict[int, SchemaRefusedError] = {}
    newest = 0  # of ours that are registered
    for version, text in subject.texts.items():
        what = f"{subject.name}: {subject.schema}.{version}"
        try:
            yield Finding("ok", f"{what} {_registered(what, subject.name, text, registry)}")
            newest = version
        except SchemaRefusedError as error:
            refused[version] = error
    for version, refusal in refused.items():
        what = f"{subject.name}: {subject.schema}.{version}"
        if version < newest and subject.level == _BACKWARD:
            yield Finding("warning", f"{what} stays unregistered: {_overtaken(subject, version, newest)} ({refusal})")
        else:
            yield Finding("problem", f"{what} is not registered: {refusal}")


def _level_set(subject: Subject, registry: Registry) -> str:
    """Set the subject's level; return what was done."""
    if (level := registry.level(subject.name)) == subject.level:
        return f"{subject.name}: level is {level}"
    registry.set_level(subject.name, subject.level)
    return f"{subject.name}: level set to {subject.level}" + (f", was {level}" if level else "")


def _registered(what: str, name: str, text: str, registry: Registry) -> str:
    """Register a schema under a subject's name, if it is not; return what was done. Raises SchemaRefusedError."""
    if (found := registry.find(name, text)) is not None:
        return f"exists: {_place(found)}"
    registry.register(name, text)
    if (found := registry.find(name, text)) is None:
        raise RegistryError(f"{what} was registered, and yet the schema registry does not find it")
    return f"registered: {_place(found)}"


def _overtaken(subject: Subject, version: int, newer: int) -> str:
    """Return what it means that an older version of ours is not registered, and cannot be any more."""
    return (
        f"{subject.schema}.{newer} is there already, and the registry takes no older one after it; so nobody writes "
        f"{subject.schema}.{version} by an id of this subject, and nothing more has to be done"
    )


def own_findings(subject: Subject, registry: Registry | None) -> Iterator[Finding]:
    """Yield what is wrong with our versions among each other, and with what is registered; else that all is well."""
    newest = Schema(subject.newest)
    ours = {f"{subject.schema}.{version}": Schema(text) for version, text in subject.texts.items()}
    problems = [problem for name, schema in ours.items() for problem in _incompatible(subject, name, schema, newest)]
    if registry is not None:
        registered = registry.versions(subject.name)
        problems += [problem for one in registered for problem in _unread(subject, one)]
        problems += _disallowed(subject, subject.newest, registry)
        yield from _unregistered(subject, registry, registered)
    yield from (Finding("problem", f"{subject.name}: {problem}") for problem in problems)
    if not problems:
        yield Finding("ok", f"{subject.name}: {subject.schema}.{max(subject.texts)} reads {', '.join(ours)}")


def foreign_findings(text: str, subjects: tuple[Subject, ...], registry: Registry | None) -> Iterator[Finding]:
    """Yield what is wrong with a producer's schema: whether ours can read it, and the subject's level allows it."""
    if len(text.encode()) > MOST_BYTES:
        yield Finding("problem", f"the schema has more than {MOST_BYTES >> 10} KiB; none so large is read")
        return
    try:
        schema = Schema(text)
    except ValueError as error:
        yield Finding("problem", _line(str(error)))
        return
    known = {Schema(subject.newest).name: subject for subject in subjects}
    subject = known.get(schema.name)
    if subject is None:
        yield Finding(
            "problem", _line(f"{schema.name} is none of {', '.join(known)}; give the record one of these names")
        )
        return
    problems = _unreadable(subject, schema)
    if registry is not None:
        problems += _disallowed(subject, text.strip(), registry)
    yield from (Finding("problem", _line(problem)) for problem in problems)
    if not problems:
        allowed = "" if registry is None else f", and the level of {subject.name} allows it"
        yield Finding("ok", f"{schema.name}: {subject.schema}.{max(subject.texts)} reads it{allowed}")


def _incompatible(subject: Subject, name: str, older: Schema, newest: Schema) -> list[str]:
    found = [f"{subject.schema}.{max(subject.texts)} cannot read {name}: {reason}" for reason in breaks(older, newest)]
    if subject.level == _FULL:
        read = breaks(newest, older)
        found += [f"{name} cannot read {subject.schema}.{max(subject.texts)}: {reason}" for reason in read]
    return found


def _unreadable(subject: Subject, writer: Schema) -> list[str]:
    """Return why our newest version cannot read a writer's values: by Avro's rules, or by the bounds of decoders."""
    newest = Schema(subject.newest)
    if found := breaks(writer, newest):
        return found
    try:
        compile_decoder(writer.given, newest.given, wanted_shape(subject.schema))
    except ValueError as error:
        return [str(error)]
    return []


def _unread(subject: Subject, one: Registered) -> list[str]:
    try:
        found = _unreadable(subject, Schema(one.text))
    except ValueError as error:
        found = [str(error)]
    return [_line(f"{_place(one)} cannot be read: {reason}") for reason in found]


def _disallowed(subject: Subject, text: str, registry: Registry) -> list[str]:
    """Return why the registry would not take a schema: the fields that break, found here; else what it says."""
    said = registry.objections(subject.name, text)
    if said is None:
        return []
    level, whose = registry.level(subject.name), f"of {subject.name}"
    if level is None or level == "NONE":  # so Apicurio says that there is none
        level, whose = registry.level_in_force(subject.name) or "", "of the whole registry"
    schema, found = Schema(text), []
    versions = registry.versions(subject.name)
    for one in versions if level.endswith("_TRANSITIVE") or not level else versions[-1:]:
        try:
            other = Schema(one.text)
        except ValueError:  # `_unread` says so
            continue
        if not level.startswith("FORWARD"):
            found += [f"it cannot read {_place(one)}: {reason}" for reason in breaks(other, schema)]
        if not level.startswith("BACKWARD"):
            found += [f"{_place(one)} cannot read it: {reason}" for reason in breaks(schema, other)]
    reasons = found or said or ["the registry gives no reason"]
    shown = f"{level} {whose}".lstrip()
    return [_line(f"the level {shown} does not allow it: {reason}") for reason in reasons]


def _unregistered(subject: Subject, registry: Registry, registered: tuple[Registered, ...]) -> Iterator[Finding]:
    """Yield what has yet to be registered: no problem, but no client finds it."""
    missing = [
        version
        for version, text in subject.texts.items()
        if not registered or registry.find(subject.name, text) is None
    ]
    newest = max(subject.texts.keys() - missing, default=0)
    for version in missing:
        what = f"{subject.name}: {subject.schema}.{version} is not registered; "
        is_overtaken = version < newest and registry.objections(subject.name, subject.texts[version]) is not None
        yield Finding("warning", what + (_overtaken(subject, version, newest) if is_overtaken else _REGISTER))
    if registered and (level := registry.level(subject.name)) != subject.level:
        shown = level or "that of the whole registry"
        yield Finding("warning", f"{subject.name}: its level is {shown}, not {subject.level}; {_REGISTER}")


def _place(one: Registered) -> str:
    return f"version {one.version}, id {one.id}"


def _fingerprint(schema: Schema) -> str:
    return header_of(schema.given)[len(FRAMING) :].hex().upper()


def _line(text: str) -> str:
    """Return a foreign text on one line, no longer than a terminal likes."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:500]
