"""`order-facts schemas`: the schemas of the topics, and the schema registry."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from processor.cli.options import with_settings
from processor.registry import subjects
from processor.registry.client import Registry
from processor.settings import Settings

schemas = click.Group("schemas", help="List, register and check the schemas of the topics.")
_SHOWN: Final = (
    *("schema_registry_url", "schema_registry", "events_topic", "contacts_topic", "facts_topic"),
    *("segment_members_topic", "startup_timeout_s", "log_level", "log_format", "log_profile"),
)


@schemas.command("list")
@with_settings(*_SHOWN)
def list_(settings: Settings) -> None:
    """Print each subject's schemas: name, record, fingerprint; with a registry also version, id and level.

    With schema_registry_url, versions that others registered are listed too.
    """
    registry = _registry_if_set(settings)
    for subject in subjects.subjects_of(settings):
        _print(subjects.listed(subject, registry))


@schemas.command()
@with_settings(*_SHOWN)
def register(settings: Settings) -> None:
    """Register every version of the schemas in the schema registry, and set the subjects' levels.

    The subject is <topic>-value. The level is BACKWARD_TRANSITIVE for events and contacts, FULL_TRANSITIVE for facts
    and members of segments. What is registered already stays as it is: twice is the same as once. If the registry
    refuses a version, the others are registered all the same; the exit code is 1, and a line names it. An older version
    of events or contacts may be missing where a newer one is registered.
    """
    registry = Registry(settings, settings.startup_timeout_s)
    refused = False
    for subject in subjects.subjects_of(settings):
        for finding in subjects.register(subject, registry):
            click.echo(finding.text if finding.kind == "ok" else _shown(finding))
            refused = refused or finding.kind == "problem"
    if refused:
        raise click.exceptions.Exit(1)


@schemas.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_settings(*_SHOWN)
def check(settings: Settings, file: Path | None) -> None:
    """Check that the schemas here, or a producer's schema in FILE, can be read; print a line for each finding.

    Without FILE: the newest version reads all older ones, and with schema_registry_url goes with what is registered.
    With FILE: the newest version reads it, and with schema_registry_url the subject's level allows it. The exit code is
    1 if not, and the lines name the fields: for a producer's CI.
    """
    registry = _registry_if_set(settings)
    ours = subjects.subjects_of(settings)
    if file is None:
        findings = [finding for subject in ours for finding in subjects.own_findings(subject, registry)]
    else:
        text = file.read_text(encoding="utf-8", errors="replace")
        findings = [*subjects.foreign_findings(text, ours, registry)]
    _print(map(_shown, findings))
    if any(finding.kind == "problem" for finding in findings):
        raise click.exceptions.Exit(1)


def _registry_if_set(settings: Settings) -> Registry | None:
    return None if settings.schema_registry_url is None else Registry(settings, settings.startup_timeout_s)


def _shown(finding: subjects.Finding) -> str:
    return f"{finding.kind:<9}{finding.text}"


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
