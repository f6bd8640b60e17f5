"""Lists the parts of the image (CycloneDX) and gathers their licences, inside its build.

Takes the virtual environment, the base image's list of packages (dpkg's file `status`) and the folder to fill:
`sbom.cdx.json` (the Python packages by cyclonedx-py; the base's Debian packages and Python itself are added), and
`licences/`, a folder for each Python package. Debian's own are where Debian puts them, /usr/share/doc/*/copyright.
A list of the same parts has the same bytes. Libraries inside a package's wheel, such as librdkafka, are parts of that
package. Raises CalledProcessError if cyclonedx-py fails.

    python -m deploy.image.parts ENVIRONMENT STATUS FOLDER
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

PROJECT: Final = Path(__file__).resolve().parents[2]
SBOM: Final = "sbom.cdx.json"
_LICENCE_WORDS: Final = ("licen", "copying", "notice", "authors")


def main() -> None:
    """Write both."""
    environment, status, folder = (Path(argument) for argument in sys.argv[1:])
    folder.mkdir(parents=True)
    document = python_parts(environment)
    document["components"] += [interpreter(environment), *debian_parts(status.read_text(encoding="utf-8"))]
    document["components"].sort(key=lambda part: part["bom-ref"])
    (folder / SBOM).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    gather_licences(environment, folder / "licences")
    shutil.copy(PROJECT / "LICENSE", folder / "LICENSE")


def python_parts(environment: Path) -> Any:
    """Return the document of the Python packages."""
    command = (sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--spec-version", "1.6")
    options = ("--pyproject", str(PROJECT / "pyproject.toml"), "--mc-type", "application", "--output-format", "JSON")
    run = subprocess.run((*command, *options, str(environment / "bin" / "python")), stdout=subprocess.PIPE, check=True)
    return json.loads(run.stdout)


def interpreter(environment: Path) -> dict[str, str]:
    """Return Python itself as a part: public base images build it from source, so no package names it."""
    ask = (str(environment / "bin" / "python"), "-c", "import platform; print(platform.python_version())")
    version = subprocess.run(ask, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    purl = f"pkg:generic/python@{version}"
    return {"bom-ref": purl, "type": "platform", "name": "python", "version": version, "purl": purl}


def debian_parts(status: str) -> Iterator[dict[str, str]]:
    """Yield the installed packages of dpkg's list as parts."""
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status") == "install ok installed":
            name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
            purl = f"pkg:deb/debian/{quote(name, safe='')}@{quote(version, safe='')}?arch={machine}"
            yield {"bom-ref": purl, "type": "library", "name": name, "version": version, "purl": purl}


def gather_licences(environment: Path, folder: Path) -> None:
    """Copy each Python package's licence files."""
    for about in sorted(environment.glob("lib/python*/site-packages/*.dist-info")):
        target = folder / about.name.removesuffix(".dist-info")
        for file in sorted(about.rglob("*")):
            if file.is_file() and any(word in file.name.lower() for word in _LICENCE_WORDS):
                target.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target / file.name)


if __name__ == "__main__":
    main()
