"""The documents: their tables are those of the code, their links lead somewhere, the files they name are there."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter

import fastavro.schema
import pytest

from deploy.build.docs import FOLDERS, ROOT, TABLES, markdown_files, written

DOCUMENTS = markdown_files()
NAMES = [str(file.relative_to(ROOT)) for file in DOCUMENTS]
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
INLINE_CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
NAMED_FILE = re.compile(r"[\w./-]+\.(?:py|lua|md|json|xml)")


def text_of(file):
    """Give a document without its blocks of code."""
    return CODE.sub("", file.read_text(encoding="utf-8"))


def anchors(file):
    """Give the anchors of a document's headings, as GitHub makes them."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in HEADING.findall(text_of(file)):
        words = LINK.sub(lambda link: link[0][1 : link[0].index("]")], heading)
        anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def problem_of(file, link):
    """Say what is wrong with a link; nothing for one that leads somewhere, or out of the project."""
    if re.match(r"[a-z]+:", link):
        return None
    path, _, anchor = link.partition("#")
    target = (file.parent / path).resolve() if path else file
    if not target.exists() or not target.is_relative_to(ROOT):
        return f"{link}: no such file"
    page = target / "README.md" if target.is_dir() else target
    if anchor and (page.suffix != ".md" or anchor not in anchors(page)):
        return f"{link}: no such heading"
    return None


@pytest.mark.parametrize("file", DOCUMENTS, ids=NAMES)
def test_every_link_of_a_document_leads_somewhere(file):
    """Relative links name files and folders of the project, and anchors name headings there."""
    links = LINK.findall(INLINE_CODE.sub("", text_of(file)))
    assert [problem for link in links if (problem := problem_of(file, link))] == []


@pytest.mark.parametrize("link", ["nowhere.md", "README.md#nowhere", "#nowhere", "../README.md", "LICENSE#nowhere"])
def test_a_link_that_leads_nowhere_is_noticed(link):
    """A missing file, a missing heading and a file outside of the project are each a problem."""
    assert problem_of(ROOT / "README.md", link)


@pytest.mark.parametrize("link", ["deploy/", "deploy/README.md#settings", "#a-fact", "https://example.org/x#y"])
def test_a_link_that_leads_somewhere_is_none(link):
    """Folders, files, headings here and elsewhere, and what is on other sites, are fine."""
    assert problem_of(ROOT / "README.md", link) is None


@pytest.mark.parametrize("file", DOCUMENTS, ids=NAMES)
def test_every_file_that_a_document_names_is_there(file):
    """A name in code, such as `service.py` or `replica/service.py`, is the end of an existing file's path."""
    paths = [f"/{path.relative_to(ROOT)}" for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")]
    named = {code for code in INLINE_CODE.findall(text_of(file)) if NAMED_FILE.fullmatch(code)}
    assert [name for name in sorted(named) if not any(path.endswith(f"/{name}") for path in paths)] == []


def test_the_headers_of_values_are_those_of_the_schemas():
    """The document has every version's header; its examples write the newest event, and read every version of facts."""
    document = (ROOT / "schemas" / "README.md").read_text(encoding="utf-8")
    headers = {}
    for file in sorted((ROOT / "schemas").glob("*.avsc")):
        canonical = fastavro.schema.to_parsing_canonical_form(json.loads(file.read_text(encoding="utf-8")))
        fingerprint = fastavro.schema.fingerprint(canonical, "CRC-64-AVRO").upper()
        assert f"| `{file.stem}` | `C301 {fingerprint}` |" in document
        headers[file.stem] = fingerprint.lower()
    examples = re.findall(r"fromhex\(\"c301([0-9a-f]{16})\"\)", document)
    newest = max(name for name in headers if name.startswith("order-event."))
    assert examples == [headers[newest], *(headers[name] for name in headers if name.startswith("order-fact."))]


def test_every_table_is_in_a_document():
    """What `make docs` can write is written somewhere, once."""
    markers = re.findall(r"^<!-- make docs: (\w+) -->$", "".join(map(text_of, DOCUMENTS)), re.MULTILINE)
    assert sorted(markers) == sorted(TABLES)


def test_a_table_that_there_is_not_is_an_error():
    """A marker with a name of no table is not passed over."""
    with pytest.raises(KeyError, match="colours"):
        written("<!-- make docs: colours -->\n<!-- end -->\n")


CHANGES = {
    "a setting's default": ("processor/settings/definitions.py", "] = 5_000\n", "] = 6_000\n", "deploy/README.md"),
    "a command's option": ("processor/cli/facts.py", '"--latest"', '"--newest", "latest"', "deploy/README.md"),
    "a log event's field": ("processor/logs/run_events.py", 'rss_bytes"', 'memory_bytes"', "deploy/README.md"),
    "a metric's name": ("processor/replica/metrics.py", "order_facts_batches", "order_facts_sets", "deploy/README.md"),
    "a reason": ("processor/domain/rejections.py", '"no_change"', '"nothing_new"', "schemas/README.md"),
    "an allowed property": (
        *("processor/settings/kafka_properties.py", '"check.crcs"', '"check.sums"'),
        "deploy/README.md",
    ),
    "a reserved property": (
        *("processor/settings/kafka_properties.py", '"isolation.level"', '"debug"'),
        "deploy/README.md",
    ),
    "a partition's state": (
        *("processor/replica/partitions.py", '"catching_up"', '"behind"'),
        "processor/README.md",
    ),
}


@pytest.fixture
def project(tmp_path):
    """Give a copy of the project."""
    for folder in ("processor", "schemas", "deploy"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_check_passes_where_nothing_was_changed(project):
    """A copy of the project has the tables of its code."""
    assert check(project) == (0, "")


@pytest.mark.parametrize(("file", "was", "becomes", "document"), CHANGES.values(), ids=CHANGES)
def test_a_change_in_the_code_fails_the_check_until_the_tables_are_written(project, file, was, becomes, document):
    """The check fails by the document's name after a change, and passes once the table is written."""
    code = (project / file).read_text(encoding="utf-8")
    assert was in code
    (project / file).write_text(code.replace(was, becomes), encoding="utf-8")
    assert check(project) == (1, f"{document}: has tables that differ from the code; run: make docs\n")
    assert check(project, write=True) == (0, f"{document}: written\n")
    assert check(project) == (0, "")


def check(project, *, write=False):
    """Give the exit code of `make check`'s step, or of `make docs`, in a copy of the project, and what it prints."""
    command = [sys.executable, "-m", "deploy.build.docs", *([] if write else ["--check"])]
    environment = os.environ | {"PYTHONPATH": str(project)}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout
