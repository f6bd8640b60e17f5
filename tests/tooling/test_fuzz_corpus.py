"""The corpus of the fuzz as a file: small, of every outcome, and each entry readable again."""

from processor.domain.rejections import Reason
from tests.fuzz import corpus
from tests.fuzz.case import as_json, of_json

MAX_CORPUS_BYTES = 100_000


def test_the_corpus_is_small_and_has_every_outcome():
    """Facts and all reasons come out of it, no two entries are the same, and it stays a small file."""
    entries = corpus.entries()
    outcomes = {outcome for _, expect, _ in entries for outcome in expect}
    assert outcomes == {"fact", *(reason.value for reason in Reason if reason is not Reason.UNREADABLE)}
    assert len({name for name, _, _ in entries}) == len(set(corpus.forms())) == len(entries)
    assert corpus.PATH.stat().st_size <= MAX_CORPUS_BYTES


def test_an_entry_is_read_again_as_it_was_written():
    """A failure that is kept as a line of JSON is the same case when it is played again."""
    assert [name for name, _, case in corpus.entries() if of_json(as_json(case)) != case] == []
