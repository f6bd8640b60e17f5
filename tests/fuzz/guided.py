"""The engine that is guided by coverage, `python -m tests.fuzz.guided FOLDER ...`: Atheris, that is libFuzzer.

Every new way through `processor/` keeps the bytes that found it, and changes them further. See `form.py` for what the
bytes mean. Atheris must be importable; `run.py` sees to that.
"""

import os
import sys
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["processor"]):
    from tests.fuzz.corpus import forms, words
    from tests.fuzz.engines import parse
    from tests.fuzz.form import case_of
    from tests.fuzz.session import Session

MAX_FORM_BYTES = 4_096
TIMEOUT_S = 3_600  # libFuzzer's own looks at the clock on the wall; hangs are the checker's and the starter's business


def main():
    """Fuzz until the time is up; libFuzzer never returns, so the report is written from within."""
    options = parse(["guided", *sys.argv[1:]])
    session = Session(options.folder, options.seconds, options.limit_ms)
    seeds = session.folder / "seeds"
    seeds.mkdir()
    for number, form in enumerate(forms()):
        (seeds / str(number)).write_bytes(form)
    dictionary = session.folder / "words"
    dictionary.write_text("\n".join(f'"{_escaped(word)}"' for word in words()), encoding="ascii")

    def play(form):
        with suppress(Exception):  # it is in the session's report, and the search goes on
            session.play(case_of(form))
        if session.is_over():
            session.report()
            os._exit(0)

    limits = [f"-max_len={MAX_FORM_BYTES}", "-len_control=0", "-rss_limit_mb=0", f"-timeout={TIMEOUT_S}"]
    limits.append(f"-artifact_prefix={session.folder}/")
    seed = options.seed % (1 << 31) or 1  # 0 would be a random one
    atheris.Setup([sys.argv[0], *limits, f"-seed={seed}", f"-dict={dictionary}", str(seeds)], play)
    atheris.Fuzz()


def _escaped(word):
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


if __name__ == "__main__":
    main()
