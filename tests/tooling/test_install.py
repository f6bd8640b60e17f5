"""Proves that `make install` leaves an environment of the interpreter that ran it, whichever made the one before."""

import subprocess
import sys

import pytest

from deploy.build import install

ANOTHER = """#!/bin/sh
echo "3.11.0 (another build)"
"""


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Give a new environment of this interpreter, with a file that a package left in it."""
    folder = tmp_path / "environment"
    monkeypatch.setattr(install, "VENV", folder)
    install.make_environment("--without-pip")
    (folder / "left").touch()
    return folder


def of_environment(folder):
    """Give the version of an environment's Python, which must find the library that belongs to it."""
    command = [folder / "bin/python", "-c", "import ssl, sys; print(sys.version, end='')"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_an_environment_of_this_interpreter_is_kept(environment):
    """What is installed in it stays."""
    install.make_environment("--without-pip")
    assert (environment / "left").exists()
    assert of_environment(environment) == sys.version


@pytest.mark.parametrize("is_there", [True, False])
def test_an_environment_of_another_interpreter_is_made_anew(environment, tmp_path, is_there):
    """Else its `python` would stay, and run with a library of another version; also if that Python is gone."""
    another = tmp_path / "another"
    if is_there:
        another.write_text(ANOTHER)
        another.chmod(0o755)
    for python in (environment / "bin").glob("python*"):
        python.unlink()
    for name in ("python", "python3"):
        (environment / "bin" / name).symlink_to(another)
    install.make_environment("--without-pip")
    assert not (environment / "left").exists()
    assert of_environment(environment) == sys.version
