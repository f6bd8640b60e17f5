"""Compiles the hot modules with mypyc: `make compile`. Optional; the program is complete without it.

Gives a folder in `.cache`, named by a hash of its sources, with a whole copy of the program. In it the modules below
have a compiled form beside the Python one, and Python prefers the compiled form. The project itself stays unchanged, so
no stale machine code hides an edit. Compiled modules hold functions only: the compiler does not see how msgspec
builds a record. The same tests run on both forms.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Final

from deploy.local.programs import CACHE, locked
from deploy.local.servers import ServicesError

ROOT: Final = Path(__file__).resolve().parents[2]
COPIED: Final = ("processor", "schemas")
# Chosen by measurements on a mix of all four types of events (tests/benchmarks/README.md, "The input").
MODULES: Final = (
    "processor/domain/values.py",
    "processor/domain/instants.py",
    "processor/domain/items.py",
    "processor/domain/identifiers.py",
    "processor/domain/parameters.py",
    "processor/domain/events.py",
    "processor/domain/orders.py",
    "processor/domain/pipeline.py",
    "processor/codec/varints.py",
    "processor/codec/generated.py",
    "processor/kafka/messages.py",
)


OPTIMISED: Final = "3"  # the C compiler's level for use
QUICK: Final = "0"  # the same C code, compiled in a third of the time: to test what mypyc makes
# No debugging records: they would hold the folder's name, and the same source would not give the same bytes.
PLAIN: Final = {"MYPYC_DEBUG_LEVEL": "0", "CFLAGS": "-g0", "PYTHONHASHSEED": "0"}


def compiled(level: str = OPTIMISED) -> Path:
    """Return the folder of the compiled program; compile it first if it is not there.

    Raises ServicesError without a C compiler, or if compiling fails.
    """
    folder = CACHE / f"compiled-{_fingerprint(level)}"
    with locked(CACHE / "compiled.lock"):
        if not folder.exists():
            _compile(folder, level)
    return folder


def c_compiler() -> str | None:
    """Return the C compiler's path, None if there is none."""
    return shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")


def _fingerprint(level: str) -> str:
    digest = hashlib.sha256(f"{sys.version} {version('mypy')} {level} {sorted(PLAIN.items())}".encode())
    for top in COPIED:
        for file in sorted((ROOT / top).rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _compile(folder: Path, level: str) -> None:
    if c_compiler() is None:
        raise ServicesError(
            "missing: a C compiler. Debian: sudo apt-get install -y gcc python3-dev; macOS: xcode-select --install"
        )
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        work = Path(name) / "program"
        for top in COPIED:
            shutil.copytree(ROOT / top, work / top, ignore=shutil.ignore_patterns("__pycache__"))
        (work / "mypy.ini").write_text("[mypy]\nstrict = True\npython_version = 3.11\nignore_missing_imports = True\n")
        command = (sys.executable, "-m", "mypyc", *MODULES)
        environment = {**os.environ, **PLAIN, "MYPYC_OPT_LEVEL": level}
        done = subprocess.run(
            command,
            cwd=work,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServicesError(f"the compiler failed:\n{done.stdout[-4000:]}")
        shutil.rmtree(work / "build")
        shutil.rmtree(work / ".mypy_cache", ignore_errors=True)
        work.rename(folder)


def main() -> None:
    """Compile, and print how to run it."""
    try:
        folder = compiled()
    except ServicesError as error:
        sys.exit(str(error))
    print(f"compiled: run it with\n\n    cd {folder} && {sys.executable} -m processor run")


if __name__ == "__main__":
    main()
