"""Proves what the copier makes of a record whose headers the client does not show."""

import pytest

from processor.kafka.messages import hides_headers, record_of


class Message:
    """A message as the client hands it over, with what its `headers` returns or raises."""

    def __init__(self, headers):
        self._headers = headers

    def headers(self):
        """Return the headers, or raise as the client does."""
        if isinstance(self._headers, Exception):
            raise self._headers
        return self._headers

    def __getattr__(self, name):
        return lambda: {"partition": 0, "offset": 1, "timestamp": (1, 2)}.get(name)


@pytest.mark.runbook("widen.headers_lost")
def test_headers_with_a_name_that_is_no_text():
    """The record comes without headers, and that is noticed; one that has none is not taken for it."""
    odd = Message(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"))
    assert record_of(odd).headers == ()
    assert hides_headers(odd)
    assert not hides_headers(Message(None))
    assert not hides_headers(Message([("a", b"1")]))
