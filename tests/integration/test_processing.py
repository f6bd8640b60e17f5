"""Proves on the real broker and Redis that every event becomes one right fact or rejection, however it is cut."""

import ctypes
import threading
from pathlib import Path

import confluent_kafka
import pytest
from msgspec.structs import replace

from processor.replica.service import Service
from tests.support.traffic import created, poison, traffic


@pytest.mark.parametrize("max_batch", [1, 7, 5000])
def test_same_facts_whatever_the_batch_size(deployment, max_batch):
    """An order's events, interleaved in one batch and across batches, give the reference's facts (D18 to D24)."""
    deployment.send(traffic(seed=1, count=400))
    replica = deployment.replica("a", max_batch=max_batch)
    deployment.await_accounted()
    replica.stop()
    reasons = deployment.require_right_outputs()
    assert len(reasons) > 8, "the traffic should meet most reasons"
    committed = replica.lines("batch.committed")
    assert max(line["records"] for line in committed) <= max_batch
    assert sum(line["records"] for line in committed) == deployment.sent


SMALL_FETCHES = {"fetch.message.max.bytes": "2000", "queued.max.messages.kbytes": "1"}


@pytest.mark.parametrize(("max_batch", "kafka"), [(50, {}), (5000, SMALL_FETCHES)])
def test_a_batch_is_read_beside_a_commit_only_where_as_much_waits(deployment, monkeypatch, max_batch, kafka):
    """A backlog is read ahead of, full batches or not; with nothing behind it, what comes would wait for one more."""
    commit, seen = Service.commit, list[tuple[int, int, bool]]()

    def noting(service, batch, folded, known, beside=None):
        waiting = deployment.sent - sum(count for count, *_ in seen)
        after = commit(service, batch, folded, known, beside)
        if folded.outputs:  # else an idle turn
            seen.append((len(folded.outputs), waiting, beside is not None))
        return after

    monkeypatch.setattr(Service, "commit", noting)
    records = traffic(seed=5, count=400)
    for start in range(0, len(records), 20):  # small batches in the topic too: a fetch takes at least one
        deployment.send(records[start : start + 20])
    stop = threading.Event()
    service = Service(replace(deployment.settings, instance_id="a", max_batch=max_batch, kafka=kafka))
    running = threading.Thread(target=service.run, args=(stop,))
    running.start()
    try:
        deployment.await_accounted()
    finally:
        stop.set()
        running.join()
    deployment.require_right_outputs()
    read_ahead = [(count, waiting) for count, waiting, is_beside in seen if is_beside]
    assert read_ahead
    assert all(waiting >= 2 * count for count, waiting in read_ahead)
    assert not seen[-1][2], "nothing waited behind the last one"


def test_poison_of_every_kind_harms_no_neighbour(deployment):
    """A bad record is one rejection with its reason; the good records around it become facts (D24)."""
    kinds = poison(max_event_bytes=100_000)
    records = []
    for number, record in enumerate(kinds.values()):
        records += [created(f"before{number}"), record, created(f"after{number}")]
    deployment.send(records)
    replica = deployment.replica("a", max_event_bytes=100_000)
    deployment.settings = replace(deployment.settings, max_event_bytes=100_000)
    deployment.await_accounted()
    replica.stop()
    reasons = deployment.require_right_outputs()
    assert reasons["fact"] >= 2 * len(kinds)
    assert reasons["undecodable"] == 12
    assert reasons["oversized"] == 1


def test_restart_and_rebalance_with_unchanged_watermark_read_no_facts(deployment):
    """A restart, and a second replica that takes partitions over, find the mirror equal and read no fact."""
    deployment.send(traffic(seed=2, count=300))
    first = deployment.replica("a")
    deployment.await_accounted()
    first.stop()
    again = deployment.replica("a")
    again.await_line("partition.positioned", count=3)
    second = deployment.replica("b")
    second.await_line("partition.positioned")
    deployment.send(traffic(seed=3, count=300))
    deployment.await_accounted()
    for replica in (again, second):
        replica.stop()
        assert {line["mirror"] for line in replica.lines("partition.positioned")} == {"equal"}
        assert replica.lines("mirror.behind") == []
    deployment.require_right_outputs()


def test_header_whose_name_is_no_text_harms_nothing(deployment):
    """The client cannot show such headers at all: the record still becomes its fact, and its neighbours theirs."""
    good = [created("before"), created("hostile"), created("after")]
    deployment.send(good[:1])
    produce_with_raw_header(deployment.settings, good[1].key, good[1].value)
    deployment.sent += 1
    deployment.send(good[2:])
    replica = deployment.replica("a")
    deployment.await_accounted()
    replica.stop()
    facts = deployment.read(deployment.settings.facts_topic)
    assert sorted(record.key for record in facts) == [b"after", b"before", b"hostile"]


def produce_with_raw_header(settings, key, value):
    """Produce one record with the header name FF FE, through the client's C library: no Python client can."""
    libraries = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    library = ctypes.CDLL(str(next(libraries.glob("librdkafka*"))))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_headers_new"):
        getattr(library, name).restype = ctypes.c_void_p
    pointer, size, problem = ctypes.c_void_p, ctypes.c_size_t, ctypes.create_string_buffer(256)
    conf = pointer(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(conf, b"bootstrap.servers", settings.bootstrap_servers.encode(), problem, size(256))
    producer = pointer(library.rd_kafka_new(0, conf, problem, size(256)))
    headers = pointer(library.rd_kafka_headers_new(size(1)))
    library.rd_kafka_header_add(headers, b"\xff\xfe", size(2), b"v", size(1))
    fields = (1, settings.events_topic.encode(), 7, 2, 4, value, size(len(value)), 5, key, size(len(key)), 10, headers)
    assert library.rd_kafka_producev(producer, *fields, 0) == 0
    assert library.rd_kafka_flush(producer, 30_000) == 0
    library.rd_kafka_destroy(producer)
