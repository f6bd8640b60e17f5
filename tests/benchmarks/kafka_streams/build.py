"""Builds the Kafka Streams program once: Maven resolves what is pinned and compiles into .cache/."""

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from deploy.local.programs import CACHE, kafka_version, locked, run_maven
from deploy.local.servers import ServicesError

HERE = Path(__file__).parent
SCHEMAS = HERE.parents[2] / "schemas"


def classpath():
    """Give the program's class path, building it first if these sources were not built before."""
    folder = CACHE / f"kafka-streams-{_digest()}"
    if not folder.is_dir():
        with locked(CACHE / "kafka-streams.lock"):
            if not folder.is_dir():
                _build(folder)
    return f"{folder / 'classes'}{os.pathsep}{folder / 'lib'}/*"


def _digest():
    """Tell one state of the sources from another."""
    digest = hashlib.sha256(kafka_version().encode())
    for path in sorted([HERE / "pom.xml", *HERE.glob("src/**/*.java"), *SCHEMAS.glob("*.avsc")]):
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:8]


def _build(folder):
    maven = shutil.which("mvn")
    if maven is None:
        raise ServicesError(
            "missing: Maven, to build the Kafka Streams program. Debian: sudo apt-get install -y maven; "
            "macOS: brew install maven"
        )
    print("building the Kafka Streams program with Maven, once", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        target = Path(name) / "target"
        arguments = (
            *(f"-Dkafka.version={kafka_version()}", f"-Dbuild.folder={target}"),
            *("compile", "dependency:copy-dependencies"),
            *("-DincludeScope=runtime", f"-DoutputDirectory={target / 'lib'}"),
        )
        run_maven(maven, arguments, HERE, "build the Kafka Streams program")
        target.rename(folder)
