"""Cases as Hypothesis draws them: topics of events that mostly make sense, some of their bytes changed, and noise."""

from decimal import Decimal

from hypothesis import strategies as st
from msgspec.structs import replace

from tests.fuzz.case import HEADER, NEWEST, NEWEST_HEADER, OLDER, OLDER_HEADER, Case, written
from tests.support.avro_writer import cuts, values, write
from tests.support.events import RULES, contact_records, events, key_of, topics
from tests.support.hostile import once_in
from tests.unit.test_avro import mutations


@st.composite
def cases(draw):
    """Draw a topic's records, known contacts and rules; more often than not something is wrong with the bytes."""
    records = [sent.record for sent in draw(topics())]
    for place, record in enumerate(records):
        if len(record.value or b"") > len(HEADER) and once_in(draw, 6):
            records[place] = replace(record, value=draw(mutations(record.value)))
    offset = records[-1].offset + 1 if records else 0
    if records and once_in(draw, 2):
        key, value = draw(_EXTRA)
        records.append(replace(records[-1], offset=offset, key=key, value=value))
    return Case(tuple(records), draw(RULES), tuple(draw(contact_records())), "structured")


@st.composite
def _rewritten(draw):
    """Draw an event in blocks of any cut, by the newest schema or, without what that lacks, by the older one."""
    event = draw(events())
    if draw(st.booleans()):
        return key_of(event), written(event, draw(cuts()))
    params = [param for param in event["params"] if not isinstance(param["value"], list | dict | Decimal)]
    return key_of(event), OLDER_HEADER + write(OLDER, {**event, "params": params}, draw(cuts()))


_KEYS = st.sampled_from([b"needle-1", b"42", b"", None])
_EXTRA = st.one_of(
    _rewritten(),
    _rewritten(),
    st.tuples(_KEYS, values(NEWEST).map(lambda event: NEWEST_HEADER + write(NEWEST, event))),
    st.tuples(_KEYS, st.binary(max_size=60).map(NEWEST_HEADER.__add__)),
    st.tuples(_KEYS, st.binary(max_size=60).map(HEADER.__add__)),
    st.tuples(_KEYS, st.binary(max_size=60).map(OLDER_HEADER.__add__)),
    st.tuples(_KEYS, st.binary(max_size=60)),
)
