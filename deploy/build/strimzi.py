"""Writes Strimzi's topics and users from the code: `make docs`. With `--check` it only compares.

The topics are those of `topics create`, the users' access rights those that `check` asks the brokers for. Exit codes:
0 the files match the code; 1 one does not (`--check`), and is named; 2 wrong usage.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.build.written_files import write_or_compare
from processor.kafka.creation import MESSAGE_BYTES, wanted_topics
from processor.kafka.rights import TRANSACTIONAL_IDS, Right, needed
from processor.settings import Settings

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "deploy/kubernetes/overlays/strimzi"
USERS: Final = {
    "order-facts-replica": "run",
    "order-facts-contact-index": "contacts index",
    "order-facts-healer": "rejected replay --follow",
}
"""Which command each user's process runs."""
PARTITIONS: Final = 12  # as the overlay `production` has
_HEAD: Final = "# Written by `make docs` from the code; a change here is lost.\n"
_COPIES: Final = {"replicas": 3, "min.insync.replicas": 2}
_PLACE: Final = {"namespace": "order-facts", "labels": {"strimzi.io/cluster": "kafka"}}


def topics(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield a KafkaTopic for each topic that `topics create` creates, as it does with three brokers."""
    for name, (partitions, config) in wanted_topics(settings, settings.partitions).items():
        own: dict[str, Any] = {key: int(value) if value.isdecimal() else value for key, value in config.items()}
        own["min.insync.replicas"] = _COPIES["min.insync.replicas"]
        if name == settings.rejected_topic:
            own["max.message.bytes"] = MESSAGE_BYTES[0]
        spec = {"partitions": partitions, "replicas": _COPIES["replicas"], "config": own}
        yield _resource("KafkaTopic", name, spec)


def users(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield a KafkaUser for each process that runs for good, with the rights that it needs and no other."""
    rights = needed(settings)
    for user, command in USERS.items():
        authorization = {"type": "simple", "acls": list(_acls(rights[command]))}
        yield _resource("KafkaUser", user, {"authentication": {"type": "tls"}, "authorization": authorization})


def _acls(rights: Iterable[Right]) -> Iterator[dict[str, Any]]:
    """Yield an entry for each resource."""
    ordered = sorted(set(rights))
    for (kind, name), found in groupby(ordered, lambda right: (right.kind, right.name)):
        is_prefix = kind == TRANSACTIONAL_IDS
        resource = {"type": "transactionalId" if is_prefix else kind, "name": name}
        pattern = {"patternType": "prefix" if is_prefix else "literal"}
        yield {"resource": resource | pattern, "operations": [right.operation for right in found]}


def _resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "kafka.strimzi.io/v1", "kind": kind, "metadata": {"name": name, **_PLACE}, "spec": spec}


def files() -> dict[Path, str]:
    """Return each file's text as the code has it."""
    settings = Settings(partitions=PARTITIONS)
    made = {"topics.yaml": topics(settings), "users.yaml": users(settings)}
    return {FOLDER / name: _HEAD + _text(resources) for name, resources in made.items()}


def _text(resources: Iterable[dict[str, Any]]) -> str:
    text: str = yaml.safe_dump_all(resources, sort_keys=False, width=120)
    return text


def main() -> None:
    """Write the files, or with --check name each that differs from the code, and exit with 1."""
    write_or_compare("Write Strimzi's topics and users from the code.", files(), ROOT, "differs from the code")


if __name__ == "__main__":
    main()
