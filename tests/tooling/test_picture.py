"""The picture of `watch` in the README: drawn by this code from the recorded lines, and complete by itself."""

import re
from xml.etree import ElementTree as ET

from deploy.build.picture import PICTURE, ROOT, drawn
from processor.watching.summary import summary
from processor.watching.watched import Watched
from tests.support.recorded_lines import recorded

SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_is_of_this_code():
    """What the code draws now is what is in the file; `make docs` draws it again."""
    assert PICTURE.read_text(encoding="utf-8") == drawn()


def test_the_picture_shows_the_recorded_lines():
    """It names each replica with its events, and what waits, as the summary has them."""
    known = Watched()
    for line in recorded():
        known.feed(line)
    texts = "".join(ET.parse(PICTURE).getroot().itertext()).replace("\N{NO-BREAK SPACE}", " ")
    found = summary(known)
    assert len(found.replicas) > 1
    assert found.troubles
    for replica in (*found.replicas, found.total):
        assert re.search(rf"{replica.name} .* {replica.events:,} ", texts)
    unfolded = " ".join(texts.split())  # long ones stand on two lines
    assert all(trouble.text in unfolded for trouble in found.troubles)


def test_the_picture_loads_nothing_from_elsewhere():
    """Pages that show a picture do not let it; and the README shows it by a path beside it."""
    root = ET.parse(PICTURE).getroot()
    assert root.tag == f"{SVG}svg"
    assert "url(http" not in PICTURE.read_text(encoding="utf-8")
    assert f"]({PICTURE.relative_to(ROOT)})" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert PICTURE.stat().st_size < 80_000
