"""Builds both wheels into dist/: `make wheel`. A pure one for every platform, and one with the compiled hot modules.

The same commit gives the same bytes: times are the commit's, or SOURCE_DATE_EPOCH's. Checks each wheel before it says
so: all modules and data files are in it, and `order-facts --version` runs from it in a new virtual environment.
Exit codes: 0 done; 1 a wheel is wrong, or something is missing.

    python -m deploy.build.wheels [--only pure|compiled] [--not-run]
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hatchling.builders.wheel import WheelBuilder

from deploy.build.compiled import COPIED, MODULES, ROOT
from deploy.local.servers import ServicesError

DIST: Final = ROOT / "dist"
SWITCH: Final = "HATCH_BUILD_HOOK_ENABLE_CUSTOM"
KINDS: Final = ("pure", "compiled")
LICENCE: Final = "dist-info/licenses/LICENSE"


def commit_time_s(root: Path = ROOT, commit: str = "HEAD") -> int:
    """Return the seconds since 1970 that a build uses: SOURCE_DATE_EPOCH, else the commit's, else hatchling's own."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    git = ("git", "-C", str(root), "log", "-1", "--format=%ct", commit)
    try:
        return int(subprocess.run(git, capture_output=True, text=True, check=True).stdout)
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive, or no git
        return 1_580_601_600


def build(kind: str, target: Path) -> Path:
    """Build one of `KINDS` into a folder; return its path. Raises ServicesError without a C compiler."""
    changed = {"SOURCE_DATE_EPOCH": str(commit_time_s()), SWITCH: str(kind == "compiled").lower()}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        return Path(next(iter(WheelBuilder(str(ROOT)).build(directory=str(target), versions=["standard"]))))
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def problems(wheel: Path) -> Iterator[str]:
    """Yield what a wheel lacks, or says wrongly of itself."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (about,) = (name for name in names if name.endswith(".dist-info/WHEEL"))
        said = archive.read(about).decode()
    yield from (f"{name} is not in it" for name in sorted(expected() - names))
    if not any(name.endswith(LICENCE) for name in names):
        yield "the licence is not in it"
    code = {name.split(".")[0] for name in names if name.endswith(".so")}
    is_pure = "none-any" in wheel.name
    if is_pure and code:
        yield f"it says that it is for every platform, and has machine code: {sorted(code)}"
    if not is_pure:
        yield from (f"{module} is not compiled in it" for module in MODULES if module.removesuffix(".py") not in code)
    if f"Root-Is-Purelib: {str(is_pure).lower()}" not in said:
        yield f"its name says pure={is_pure}, its file WHEEL does not"


def expected() -> set[str]:
    """Return the modules and data files that a wheel must have, by their paths in it."""
    found = (file for top in COPIED for file in (ROOT / top).rglob("*") if file.is_file() and file.suffix != ".pyc")
    names = {file.relative_to(ROOT).as_posix() for file in found}
    return {f"processor/{name}" if name.startswith("schemas/") else name for name in names}


def version_from(wheel: Path, folder: Path) -> str:
    """Install a wheel into a new virtual environment in a folder; return what its command says to `--version`.

    Its dependencies are those of this environment. Raises CalledProcessError if a step fails.
    """
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", str(folder)), check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = str(folder / "bin" / "python")
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    subprocess.run((*pip, "install", "--quiet", "--no-deps", "--no-index", "--no-compile", str(wheel)), check=True)
    command = (str(folder / "bin" / "order-facts"), "--version")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def main() -> None:
    """Build and check."""
    parser = argparse.ArgumentParser(prog="python -m deploy.build.wheels", description="Build the wheels into dist/.")
    parser.add_argument("--only", choices=KINDS, help="one of the two")
    parser.add_argument("--not-run", action="store_true", help="do not run it: the caller installs it")
    options = parser.parse_args()
    for kind in (options.only,) if options.only else KINDS:
        try:
            wheel = build(kind, DIST)
        except ServicesError as error:
            sys.exit(str(error))
        if found := list(problems(wheel)):
            sys.exit("\n".join(f"{wheel.name}: {problem}" for problem in found))
        if options.not_run:
            continue
        folder = Path(tempfile.mkdtemp(prefix="order-facts-wheel-"))
        try:
            said = version_from(wheel, folder)
        finally:
            shutil.rmtree(folder)
        print(f"dist/{wheel.name}: {wheel.stat().st_size:,} bytes; {said}")


if __name__ == "__main__":
    main()
