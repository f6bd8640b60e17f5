"""Checks deploy/kubernetes/ offline: what is there is what Kubernetes 1.34 knows, and no file is forgotten.

Each file is checked by itself, a patch as the part of an object that it is. With `--rendered` the standard input is
checked: what kustomize makes of an overlay. Resources of KEDA, Strimzi and Prometheus Operator are only read. What is
wrong is named, a line each; exit codes: 0 nothing; 1 something.

`kubernetes-1.34.json.xz` has the definitions of these kinds, and of what they are made of, without descriptions, from
the strict schemas of 1.34 in the PyPI package kubernetes-validate 1.37.0. Copyright The Kubernetes Authors; Apache
License 2.0.
"""

import argparse
import functools
import json
import lzma
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import yaml

from processor.errors import UsageError
from processor.settings.sources import load

HERE: Final = Path(__file__).parent
FOLDER: Final = HERE.parent / "kubernetes"
KUSTOMIZATION: Final = "kustomization.yaml"
FOREIGN: Final = ("keda.sh/", "kafka.strimzi.io/", "monitoring.coreos.com/")
"""Groups whose definitions are not here: `try.sh` has a real API server check them."""


def main() -> None:
    """Check the folder, or what comes on the standard input."""
    parser = argparse.ArgumentParser(description="Check deploy/kubernetes/ offline.")
    parser.add_argument("--rendered", action="store_true", help="check the standard input instead, an overlay's output")
    if parser.parse_args().rendered:
        documents = list(yaml.safe_load_all(sys.stdin))
        found = list(of_documents(documents, is_patch=False)) if documents else ["nothing was rendered"]
    else:
        found = list(problems(FOLDER))
    for problem in found:
        print(f"deploy/kubernetes: {problem}")
    sys.exit(int(bool(found)))


def problems(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the files of a folder and its folders."""
    for kustomization in sorted(folder.rglob(KUSTOMIZATION)):
        yield from _of_folder(kustomization.parent, folder)


def _of_folder(folder: Path, root: Path) -> Iterator[str]:
    """Yield what is wrong with a folder that has a kustomization."""
    place, settings = folder.relative_to(root), folder / "order-facts.toml"
    content = _read(folder / KUSTOMIZATION)
    named = [*content.get("resources", []), *(patch["path"] for patch in content.get("patches", []) if "path" in patch)]
    named += [file for made in content.get("configMapGenerator", []) for file in made["files"]]
    yield from (f"{place}/{KUSTOMIZATION}: {name} is not there" for name in named if not (folder / name).exists())
    for file in sorted(folder.glob("*.*")):
        if file.name not in {*named, KUSTOMIZATION}:
            yield f"{place}/{KUSTOMIZATION}: {file.name} is not named there"
    patches = {patch.get("path") for patch in content.get("patches", [])}
    for file in sorted(folder.glob("*.yaml")):
        if file.name != KUSTOMIZATION:
            found = of_documents(yaml.safe_load_all(file.read_text(encoding="utf-8")), is_patch=file.name in patches)
            yield from (f"{place}/{file.name}: {problem}" for problem in found)
    for patch in content.get("patches", []):
        if "patch" in patch:
            found = of_documents(yaml.safe_load_all(patch["patch"]), is_patch=True)
            yield from (f"{place}/{KUSTOMIZATION}: {problem}" for problem in found)
    try:
        load({}, settings if settings.exists() else None, {})
    except UsageError as error:
        yield f"{place}/{settings.name}: {error}"


def _read(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def of_documents(documents: Iterable[Any], *, is_patch: bool) -> Iterator[str]:
    """Yield what is wrong with resources, or with patches of some."""
    for document in documents:
        version, kind = document.get("apiVersion", ""), document.get("kind", "")
        name = f"{kind} {document.get('metadata', {}).get('name')}"
        if version.startswith(FOREIGN):
            continue
        validator = _validator(f"{version}/{kind}", is_patch)
        if validator is None:
            yield f"{name}: no kind of {version!r} that is known here"
            continue
        for error in validator.iter_errors(_without_directives(document) if is_patch else document):
            yield f"{name}: {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"


@functools.cache
def _definitions(is_patch: bool) -> Any:  # noqa: FBT001 - the cache's key
    with lzma.open(HERE / "kubernetes-1.34.json.xz") as file:
        definitions = json.load(file)
    return _without_required(definitions) if is_patch else definitions


@functools.cache
def _validator(kind: str, is_patch: bool) -> Any:  # noqa: FBT001 - the cache's key
    """Return what validates a kind such as `apps/v1/StatefulSet`; None if it is unknown."""
    definitions = _definitions(is_patch)
    if kind not in definitions["kinds"]:
        return None
    root = f"#/$defs/{definitions['kinds'][kind]}"
    required = [] if is_patch else ["apiVersion", "kind", "metadata"]
    return jsonschema.Draft202012Validator({"$ref": root, "required": required, "$defs": definitions["$defs"]})


def _without_required(node: Any) -> Any:
    """Return a schema without what is required: a patch has only what it changes."""
    if isinstance(node, list):
        return [_without_required(one) for one in node]
    if not isinstance(node, dict):
        return node
    kept = {name: value for name, value in node.items() if name != "required" or not isinstance(value, list)}
    return {name: _without_required(value) for name, value in kept.items()}


def _without_directives(node: Any) -> Any:
    """Return a patch without `$patch`, which says what to do with the object around it."""
    if isinstance(node, list):
        return [_without_directives(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {name: _without_directives(value) for name, value in node.items() if name != "$patch"}


if __name__ == "__main__":
    main()
