"""The compiled form of the hot modules does what the Python form does: the same tests, on it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.build import compiled
from tests.support.hostile import FAST

PROJECT = Path(__file__).parents[2]
TESTS = (
    *("test_rules.py", "test_properties.py", "test_values.py", "test_avro.py", "test_generated.py"),
    *("test_decoders.py", "test_order_state.py", "test_kinds_of_values.py"),
)
WHERE = "import processor.domain.events as e, processor.codec.generated as g; print(e.__file__, g.__file__)"


@pytest.mark.slow(reason="the hot modules are compiled, and the tests of the rules and the codec run once more")
@pytest.mark.timeout(900)
@pytest.mark.skipif(compiled.c_compiler() is None, reason="there is no C compiler: the Python form is all there is")
def test_the_compiled_form_passes_the_tests_of_the_rules_and_the_codec(tmp_path):
    """The corpus of rules, the properties and the codec's tests, where Python takes the machine code.

    The properties have fewer examples than for the Python form: what the rules are was shown there.
    """
    folder = tmp_path / "program"
    shutil.copytree(compiled.compiled(compiled.QUICK), folder)
    for name in ("tests", "deploy"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", folder)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}

    def run(*arguments):
        command = (sys.executable, *arguments)
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    used = run("-c", WHERE).stdout
    assert used.count(str(folder)) == used.count(".so") == 2, used
    chosen = [f"tests/unit/{name}" for name in TESTS]
    options = ("-q", "-p", "no:cacheprovider", "-k", "not generated_codec_is_that", "--hypothesis-profile", FAST)
    done = run("-m", "pytest", *options, *chosen)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
