"""Proves what the wheels carry; `make wheel` proves the same of the compiled one, which takes a compiler's time."""

import zipfile

from deploy.build import wheels
from processor import __version__


def test_the_pure_wheel_is_whole_and_runs_by_itself(tmp_path):
    """Every module, schema and SQL file is in it, and its command runs in a new virtual environment."""
    wheel = wheels.build("pure", tmp_path)
    assert wheel.name == f"order_facts-{__version__}-py3-none-any.whl"
    assert list(wheels.problems(wheel)) == []
    assert wheels.version_from(wheel, tmp_path / "venv") == f"order-facts, version {__version__}"


def test_the_same_commit_gives_the_same_wheel(tmp_path, monkeypatch):
    """Two builds have the same bytes; SOURCE_DATE_EPOCH, where it is set, decides the time."""
    one, two = (wheels.build("pure", tmp_path / name).read_bytes() for name in ("one", "two"))
    assert one == two
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(wheels.commit_time_s() + 86_400))
    assert wheels.build("pure", tmp_path / "three").read_bytes() != one


def test_a_wheel_that_lacks_something_is_named(tmp_path):
    """A file of SQL that is left out, and a wheel that is called compiled and is not, are found."""
    wheel = wheels.build("pure", tmp_path)
    lacking = tmp_path / wheel.name.replace("py3-none-any", "cp311-cp311-manylinux_2_36_x86_64")
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(lacking, "w") as copy:
        for name in archive.namelist():
            if not name.endswith("macros/rfm.sql"):
                copy.writestr(name, archive.read(name))
    found = list(wheels.problems(lacking))
    assert "processor/segments/macros/rfm.sql is not in it" in found
    assert "processor/domain/values.py is not compiled in it" in found
    assert found[-1] == "its name says pure=False, its file WHEEL does not"
