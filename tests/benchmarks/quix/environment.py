"""The virtual environment of the comparison program: made once under .cache/, packages pinned by hash.

The lock is written again, after a change of requirements.in here, by

    uv pip compile requirements.in --universal --python-version 3.11 --generate-hashes --no-annotate \
        --no-emit-index-url --no-emit-find-links --custom-compile-command 'see environment.py' -o requirements.txt
"""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

from deploy.local.programs import CACHE, locked

LOCK = Path(__file__).with_name("requirements.txt")


def python():
    """Give the environment's interpreter, installing what is pinned if that was not done before."""
    text = LOCK.read_bytes()
    folder = CACHE / f"quix-{hashlib.sha256(text + sys.version.encode()).hexdigest()[:8]}"
    interpreter, done = folder / "bin" / "python", folder / ".installed"
    with locked(CACHE / "quix.lock"):
        if not done.exists():
            print("installing Quix Streams into an environment of its own, once", file=sys.stderr, flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            pip = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            subprocess.run([*pip, "--require-hashes", "--requirement", LOCK], check=True)
            done.touch()
    return str(interpreter)


def version():
    """Give the version of Quix Streams that is pinned."""
    (found,) = re.findall(r"^quixstreams==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    return found
