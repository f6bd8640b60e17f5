"""Install into the virtual environment `.venv` exactly what the lock names, and this project itself.

The interpreter that runs this becomes the environment's. Gives `.venv` with every package of `requirements.txt`
(hashes checked) and the project, editable. Does nothing if the last run already did the same. Two runs at once in one
folder wait for each other; a killed run leaves nothing that disturbs the next one. Never changes pip's configuration.

Uses only the standard library and syntax that an older Python can read: it must run there to say what is missing.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
STAMP = VENV / ".installed"
INPUTS = ("requirements.txt", "pyproject.toml")


def missing() -> str | None:
    """Return one line saying what this interpreter lacks and which command installs it, or None."""
    if sys.version_info < (3, 11):  # noqa: UP036 - older interpreters do get here, and print this line
        version = ".".join(map(str, sys.version_info[:3]))
        what, debian, macos = f"Python 3.11 or newer (python3 is {version})", "python3.11-venv", "python@3.13"
    elif any(importlib.util.find_spec(name) is None for name in ("venv", "ensurepip")):
        what, debian, macos = "Python's venv module", "python3-venv", "python@3.13"
    elif os.pathsep in str(ROOT):
        return f"move this folder: Python cannot create an environment under a path with '{os.pathsep}' in it"
    else:
        return None
    return f"missing: {what}. Debian: sudo apt-get install -y {debian}; macOS: brew install {macos}"


def wanted_stamp() -> str:
    """Return what identifies an installation: interpreter, folder and both input files."""
    digest = hashlib.sha256()
    for name in INPUTS:
        digest.update((ROOT / name).read_bytes() + b"\0")
    return f"{sys.version}\n{ROOT}\n{digest.hexdigest()}\n"


def is_installed(stamp: str) -> bool:
    """Return whether the last complete installation was this one and its interpreter still exists."""
    return (VENV / "bin" / "python").exists() and STAMP.is_file() and STAMP.read_text() == stamp


def make_environment(*options: str) -> None:
    """Make `.venv` of this interpreter, with options of venv.

    What another interpreter made goes: venv would keep its `python`, and let it run with this one's library.
    """
    try:
        ask = [str(VENV / "bin" / "python"), "-c", "import sys; print(sys.version)"]
        is_ours = subprocess.run(ask, stdout=subprocess.PIPE, text=True, check=False).stdout == sys.version + "\n"
    except OSError:
        is_ours = False
    clear = [] if is_ours else ["--clear"]
    subprocess.run([sys.executable, "-m", "venv", *clear, *options, str(VENV)], check=True)


def install(stamp: str) -> None:
    """Bring `.venv` up to date. Remove the stamp first and write it last, so that half an installation has none."""
    print("installing the pinned packages into .venv", file=sys.stderr, flush=True)
    STAMP.unlink(missing_ok=True)
    make_environment()
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--require-hashes", "--requirement", str(ROOT / "requirements.txt")], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], check=True)
    STAMP.write_text(stamp)


def main() -> int:
    """Install if needed. Exit codes: 0 done; 1 the installation failed (pip says why); 2 something is missing."""
    problem = missing()
    if problem:
        print(problem, file=sys.stderr)
        return 2
    stamp = wanted_stamp()
    if is_installed(stamp):
        return 0
    (ROOT / ".cache").mkdir(exist_ok=True)
    with (ROOT / ".cache" / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel frees it, however this process ends
        if not is_installed(stamp):
            try:
                install(stamp)
            except subprocess.CalledProcessError as error:
                return 1 if error.returncode > 0 else 128 - error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
