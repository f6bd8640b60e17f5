"""Proves, without Docker, what the Dockerfile and compose.yaml must say; `make image-test` and `make up` run them."""

import re

import click
import pytest
import yaml

from deploy.build.compiled import ROOT
from deploy.compose import up
from deploy.image import build, parts, trying
from deploy.image.stand_ins.build import IMAGES
from deploy.local.programs import kafka_version
from processor.cli import cli
from processor.settings.sources import ENVIRONMENT_PREFIX, load

IMAGE = ROOT / "deploy" / "image"
DOCKERFILE = (IMAGE / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / up.FILE).read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if "IMAGE:-order-facts:" in service["image"]}
PINNED = re.compile(r"@sha256:[0-9a-f]{64}\b")


def versions(lock):
    """Give the version of each package of a lock."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(), re.MULTILINE))


def test_the_image_is_made_of_pinned_things_alone():
    """Both bases by digest, nothing from Debian's archive, each package by a hash or from the build itself."""
    assert [len(PINNED.findall(line)) for line in re.findall(r"^ARG .*BASE=.*$", DOCKERFILE, re.MULTILINE)] == [1, 1]
    assert "apt-get" not in DOCKERFILE
    commands = DOCKERFILE.replace("\\\n", " ").split("&&")
    installing = [command for command in commands if re.search(r"\binstall\b", command)]
    assert len(installing) == 3
    assert all("--require-hashes" in command or "--no-index" in command for command in installing)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-build.txt"])
def test_the_image_has_the_versions_that_the_tests_ran_with(name):
    """Its locks agree with the project's own, and each of their lines has a hash."""
    ours, tested = versions(IMAGE / name), versions(ROOT / "requirements.txt")
    assert {package: ours[package] for package in ours.keys() & tested.keys()}.items() <= tested.items()
    assert name != "requirements.txt" or ours.keys() <= tested.keys()
    packages = re.split(r"^(?=[\w.-]+==)", (IMAGE / name).read_text(), flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in package for package in packages)


@pytest.mark.parametrize(
    "line",
    [
        "USER 10001:10001",
        "STOPSIGNAL SIGTERM",
        'ENTRYPOINT ["/opt/order-facts/bin/order-facts"]',
        'CMD ["run"]',
        "COPY --from=build /out/ /",
    ],
)
def test_the_last_stage_says_how_it_runs(line):
    """A user without rights, no shell between the signal and the program, one layer."""
    assert line in DOCKERFILE.split("\nFROM base\n")[1].splitlines()


def test_what_the_build_is_given_exists():
    """Each path that the list of the context lets in is a file or folder of the project."""
    lines = (IMAGE / "Dockerfile.dockerignore").read_text().splitlines()
    given = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert [path for path in given if not list(ROOT.glob(path))] == []


def test_compose_sets_known_settings_for_known_commands(tmp_path):
    """Every setting loads, every command is one, and the image is this version's."""
    secret = tmp_path / "key"
    secret.write_text("0" * 32)
    for service in OURS.values():
        environment = service["environment"] | {f"{ENVIRONMENT_PREFIX}IDENTIFIER_KEY_FILE": str(secret)}
        assert load({}, None, environment).http_port == 8080
        assert service["image"] == f"${{IMAGE:-{build.IMAGE}}}"
        command: click.Command | None = cli
        words = iter(service["command"])
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), next(words))
        assert command is not None, service["command"]
    assert len(OURS) == 8


def test_compose_gives_our_containers_no_rights():
    """Read-only, without capabilities; each replica has a host name, so a name, of its own."""
    for service in OURS.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert [OURS[name]["hostname"] for name in ("replica-1", "replica-2")] == ["replica-1", "replica-2"]


def test_the_services_are_those_that_the_trial_takes():
    """One broker and one Redis, pinned, everywhere the same, and the broker is the version that the tests start."""
    taken = {"kafka": trying.KAFKA, "valkey": trying.VALKEY}
    for name, image in taken.items():
        assert PINNED.search(image)
        assert COMPOSE["services"][name]["image"] == f"${{{name.upper()}_IMAGE:-{image}}}"
    assert trying.KAFKA.startswith(f"apache/kafka:{kafka_version()}@")
    assert IMAGES["kafka"].endswith(f":{kafka_version()}")


def test_the_parts_of_debian_are_those_that_are_installed():
    """A package that was removed is none; its version's signs are written as package addresses want them."""
    status = (
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u14\n"
        "Description: the C library\n Name: not a field\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n"
    )
    (part,) = parts.debian_parts(status)
    assert part["purl"] == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64"


def test_a_difference_between_two_builds_is_named():
    """A changed byte, a file that one lacks, another configuration."""
    one = ([{"a": ("0", "x"), "b": ("0", "y")}], {"User": "10001"}, ["sha256:1"])
    two = ([{"a": ("0", "z")}], {"User": "0"}, ["sha256:2"])
    found = list(build.differences(one, two))
    assert [line.split(":")[0] for line in found] == ["a", "b", "configuration, User"]
    assert list(build.differences(one, one)) == []
