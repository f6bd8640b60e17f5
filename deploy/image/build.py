"""Builds the container image twice and compares: `make image`. Then takes its list of parts and licences into dist/.

The second build takes nothing from the first. What is compared: of each layer, every entry's path, kind, mode, owner,
time, link and bytes; and the configuration, without the moment of the build. An engine of its own may give both
builds the same digest too. Exit codes: 0 the same; 1 they differ (each difference is named), or a build failed.

    python -m deploy.image.build [--base IMAGE] [--build-base IMAGE] [--pip-conf FILE] [--ca FILE] [--once]
        [--commit COMMIT]
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from deploy.build.compiled import ROOT
from deploy.build.wheels import DIST, commit_time_s
from processor import __version__

IMAGE: Final = f"order-facts:{__version__}"
AGAIN: Final = f"order-facts:{__version__}-again"
DOCKERFILE: Final = "deploy/image/Dockerfile"
DOCUMENTS: Final = "/usr/share/doc/order-facts"
_MOMENTS: Final = frozenset({"created", "history"})
Entries = dict[str, tuple[Any, ...]]


def main() -> None:
    """Build, compare, say what there is."""
    parser = argparse.ArgumentParser(prog="python -m deploy.image.build", description="Build the image, twice.")
    parser.add_argument("--base", help="instead of the Debian slim image with Python that the Dockerfile names")
    parser.add_argument("--build-base", help="instead of the image that builds: the same Python, and a C compiler")
    parser.add_argument("--pip-conf", help="pip's configuration for the build alone, such as an index of yours")
    parser.add_argument("--ca", help="certificates that the build trusts; nothing of them stays in the image")
    parser.add_argument("--once", action="store_true", help="neither build again nor compare")
    parser.add_argument("--commit", help="build that commit instead, once, as order-facts:COMMIT")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            if options.commit:
                build_commit(options.commit, Path(folder), [*_chosen(options)])
                return
            arguments = [*labels(), *_chosen(options)]
            take_sources(Path(folder))
            build(IMAGE, Path(folder), arguments)
            if not options.once:
                build(AGAIN, Path(folder), [*arguments, "--no-cache"])
        if not options.once:
            compare(IMAGE, AGAIN)
        take_documents(IMAGE)
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed, with code {error.returncode}: {' '.join(error.cmd[:3])}")
    print(f"{IMAGE}: {size_bytes(IMAGE) / 1e6:.0f} MB; its parts and licences are in dist/image/")


def build_commit(commit: str, folder: Path, arguments: list[str]) -> None:
    """Build the image of a commit, by its own Dockerfile, to roll out from or to. Raises CalledProcessError."""
    command = ("git", "rev-parse", "--verify", "--short", f"{commit}^{{commit}}")
    short = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    with subprocess.Popen(("git", "archive", commit), cwd=ROOT, stdout=subprocess.PIPE) as packed:
        subprocess.run(("tar", "-x", "-C", str(folder)), stdin=packed.stdout, check=True)
    build(f"order-facts:{short}", folder, [*labels(commit), *arguments])


def labels(commit: str = "") -> list[str]:
    """Return the build's arguments that the commit decides: a given one, or that of the files here."""
    revision = _git("rev-parse", commit or "HEAD")
    if not commit and _git("status", "--porcelain"):
        revision += "-changed"
    given = {
        "VERSION": __version__,
        "REVISION": revision,
        "SOURCE_DATE_EPOCH": str(commit_time_s(ROOT, commit or "HEAD")),
    }
    arguments = [part for name, value in given.items() for part in ("--build-arg", f"{name}={value}")]
    if (source := _git("remote", "get-url", "origin")).startswith("https://"):
        arguments += ["--label", f"org.opencontainers.image.source={source}"]
    return arguments


def _chosen(options: argparse.Namespace) -> Iterator[str]:
    for name, value in (("BASE", options.base), ("BUILD_BASE", options.build_base)):
        if value:
            yield from ("--build-arg", f"{name}={value}")
    for name, value in (("pip", options.pip_conf), ("ca", options.ca)):
        if value:
            yield from ("--secret", f"id={name},src={value}")


def take_sources(folder: Path) -> None:
    """Copy the project's files to a folder: an edit between the two builds changes neither."""
    for name in _git("ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def build(image: str, folder: Path, arguments: list[str]) -> None:
    """Build the image from a folder, under a name. Raises CalledProcessError if that fails."""
    print(f"building {image}", flush=True)
    command = ("docker", "build", "--quiet", "--file", DOCKERFILE, "--tag", image, *arguments, ".")
    subprocess.run(command, cwd=folder, env={**os.environ, "DOCKER_BUILDKIT": "1"}, check=True)


def compare(one: str, two: str) -> None:
    """Print whether two images are the same, and remove the second; exit with 1 if they differ."""
    contents = [contents_of(image) for image in (one, two)]
    subprocess.run(("docker", "image", "rm", "--no-prune", two), stdout=subprocess.DEVNULL, check=True)
    if found := list(differences(*contents)):
        sys.exit("\n".join(["the two builds differ:", *found[:50]]))
    layers, digests = len(contents[0][0]), [content[2] for content in contents]
    same = "the same digests" if digests[0] == digests[1] else "not the same digests"
    print(f"both builds have the same content: {layers} layers, {sum(map(len, contents[0][0])):,} entries; {same}")


def contents_of(image: str) -> tuple[list[Entries], dict[str, Any], list[str]]:
    """Return the entries of each layer, the configuration, and the layers' digests."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "image.tar"
        subprocess.run(("docker", "save", "--output", str(saved), image), check=True)
        with tarfile.open(saved) as archive:
            (manifest,) = json.loads(_read(archive, "manifest.json"))
            config = json.loads(_read(archive, manifest["Config"]))
            layers = [_entries(archive, name) for name in manifest["Layers"]]
    digests = config.pop("rootfs")["diff_ids"]
    return layers, {name: value for name, value in config.items() if name not in _MOMENTS}, digests


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    assert stream is not None
    return stream.read()


def _entries(archive: tarfile.TarFile, name: str) -> Entries:
    entries: Entries = {}
    with tarfile.open(fileobj=archive.extractfile(name)) as layer:
        for entry in layer:
            about = (entry.type, entry.mode, entry.uid, entry.gid, entry.mtime, entry.linkname, entry.size)
            stream = layer.extractfile(entry) if entry.isreg() else None
            digest = hashlib.sha256(stream.read()).hexdigest() if stream else ""
            entries[entry.name] = (*about, digest)
    return entries


def differences(
    one: tuple[list[Entries], dict[str, Any], list[str]], two: tuple[list[Entries], dict[str, Any], list[str]]
) -> Iterator[str]:
    """Yield where two images differ, as a line."""
    if len(one[0]) != len(two[0]):
        yield f"{len(one[0])} and {len(two[0])} layers"
    for first, second in zip(one[0], two[0], strict=False):
        for path in sorted(first.keys() | second.keys()):
            if first.get(path) != second.get(path):
                yield f"{path}: {first.get(path, 'absent')} and {second.get(path, 'absent')}"
    for name in sorted(one[1].keys() | two[1].keys()):
        if one[1].get(name) != two[1].get(name):
            yield f"configuration, {name}: {one[1].get(name)} and {two[1].get(name)}"


def take_documents(image: str) -> None:
    """Copy the image's list of parts and the licences to dist/image/."""
    target = DIST / "image"
    shutil.rmtree(target, ignore_errors=True)
    DIST.mkdir(exist_ok=True)
    made = subprocess.run(("docker", "create", image), stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    try:
        subprocess.run(("docker", "cp", f"{made}:{DOCUMENTS}", str(target)), check=True)
    finally:
        subprocess.run(("docker", "rm", made), stdout=subprocess.DEVNULL, check=True)


def size_bytes(image: str) -> int:
    """Return what the engine says of the image's size, unpacked."""
    ask = ("docker", "image", "inspect", "--format", "{{.Size}}", image)
    return int(subprocess.run(ask, stdout=subprocess.PIPE, text=True, check=True).stdout)


def _git(*arguments: str) -> str:
    run = subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=False)
    return run.stdout.strip()


if __name__ == "__main__":
    main()
