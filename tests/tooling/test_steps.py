"""The table of the six steps' time, from log lines made here."""

import json

import pytest

from deploy.demo.steps import COMMITTED, STEPS, main, table, total
from processor.logs import EVENTS


def committed(records, *times_ms):
    """Give a `batch.committed` line, as far as it is looked at."""
    times = {name: ms for (_, name), ms in zip(STEPS, times_ms, strict=True)}
    return json.dumps({"event": COMMITTED, "records": records, **times})


def test_the_steps_are_those_that_are_logged():
    """The table has the six fields of the published event, in their order: a renamed step breaks here."""
    assert [name for _, name in STEPS] == [name for name in EVENTS[COMMITTED] if name.endswith("_ms")]


def test_batches_of_all_logs_are_summed_and_other_lines_passed_over():
    """Foreign lines, other events and a line cut off in the middle change nothing."""
    lines = [
        committed(10, 1, 2, 3, 4, 5, 6),
        "%4|1795467627.171|GETPID|a library's line",
        json.dumps({"event": "batch.aborted", "records": 7}),
        '["batch.committed"]',
        "",
        committed(30, 0.5, 0, 0, 0, 0, 1.5),
        committed(1, 1, 1, 1, 1, 1, 1)[:-9],
    ]
    totals = total(lines)
    assert (totals.batches, totals.records) == (2, 40)
    assert [totals.time_ms[name] for _, name in STEPS] == [1.5, 2, 3, 4, 5, 7.5]


def test_table_gives_each_step_in_all_a_batch_an_event_and_its_share():
    """Milliseconds are summed, divided by batches, in microseconds by events, and compared with all six."""
    shown = table(total([committed(100, 0, 10, 0, 30, 40, 0), committed(100, 0, 10, 0, 0, 10, 0)])).splitlines()
    assert shown[2 + 1] == "| 2 decode | 20 | 10.0 | 100.0 | 20.0% |"
    assert shown[2 + 4] == "| 5 commit | 50 | 25.0 | 250.0 | 50.0% |"
    assert shown[2 + 6] == "| all six | 100 | 50.0 | 500.0 | 100.0% |"
    assert shown[-1] == "200 events in 2 batches"


def test_command_prints_the_table_of_several_logs(tmp_path, capsys):
    """The logs of two replicas make one table."""
    logs = [tmp_path / "a.log", tmp_path / "b.log"]
    for log in logs:
        log.write_text(committed(5, 1, 1, 1, 1, 1, 1) + "\n", encoding="utf-8")
    assert main(list(map(str, logs))) == 0
    assert capsys.readouterr().out.endswith("10 events in 2 batches\n")


@pytest.mark.parametrize(
    ("content", "code", "said"), [("{}\n", 1, "no batch.committed line in"), (None, 2, "No such file")]
)
def test_command_without_batches_or_file_says_so(tmp_path, capsys, content, code, said):
    """Nothing to sum is exit code 1, a file that is not there 2, each with one line on standard error."""
    log = tmp_path / "run.log"
    if content is not None:
        log.write_text(content, encoding="utf-8")
    assert main([str(log)]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert shown.err.count("\n") == 1
