"""Starts compose.yaml with the demonstration's data: `make up`. Keeps it running; `make down` removes it.

Writes the data and a new secret to .cache/compose/, which the containers read. Waits until each event is a fact or a
rejected record, and says where to look. Exit codes: 0 done; 1 a service is not healthy, or a job failed; 2 no image.

    python -m deploy.compose.up
"""

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from deploy.build.compiled import ROOT
from deploy.demo.demo import SAMPLE, convert
from deploy.image.build import IMAGE

FILE: Final = "deploy/compose/compose.yaml"
COMPOSE: Final = ("docker", "compose", "--file", FILE)
DATA: Final = ROOT / ".cache" / "compose"
WAIT_S: Final = 180.0


def main() -> None:
    """Start, wait, say what there is."""
    image = os.environ.get("IMAGE", IMAGE)
    if subprocess.run(("docker", "image", "inspect", image), capture_output=True, check=False).returncode:
        print(f"there is no image {image}: `make image` builds it", file=sys.stderr)
        sys.exit(2)
    events = write_data(DATA)
    try:
        subprocess.run((*COMPOSE, "up", "--detach"), cwd=ROOT, check=True)
    except subprocess.CalledProcessError:
        sys.exit(f"a service did not start: {' '.join(COMPOSE)} ps --all; {' '.join(COMPOSE)} logs")
    deadline = time.monotonic() + WAIT_S
    while (done := committed()) < events:
        if time.monotonic() > deadline:
            sys.exit(f"{done:,} of {events:,} events after {WAIT_S:.0f} s: {' '.join(COMPOSE)} logs")
        time.sleep(1)
    facts = output("facts", "show").count("\n")
    print(f"{events:,} events sent, {facts:,} facts so far; the healer sends back what waited for its contact")
    print(f"\nLook:\n  {' '.join(COMPOSE)} exec replica-1 order-facts facts show --latest")
    print(f"  {' '.join(COMPOSE)} logs --follow replica-1\n  make down    # removes all of it")


def write_data(folder: Path) -> int:
    """Write the contacts, the events and the secret; return how many events there are."""
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "identifier.key"
    if not key.exists():  # a second `make up` goes on with the index that the first one built
        key.write_text(secrets.token_hex(32))
    key.chmod(0o644)  # the containers' user, another one than this, reads it
    return convert(SAMPLE, folder).event_count


def committed() -> int:
    """Return how many records the replicas have committed, as they log it."""
    command = (*COMPOSE, "logs", "--no-color", "--no-log-prefix", "replica-1", "replica-2")
    text = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    lines = (json.loads(line) for line in text.splitlines() if '"batch.committed"' in line)
    return sum(line["records"] for line in lines)


def output(*arguments: str) -> str:
    """Return what a command of the program prints in a replica's container. Raises CalledProcessError."""
    command = (*COMPOSE, "exec", "--no-TTY", "replica-1", "order-facts", *arguments)
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()
