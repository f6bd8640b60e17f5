"""The short drill of a topic that is widened under load, in every test run."""

import secrets

import pytest

from tests.chaos.widen_drill import drill


@pytest.mark.services
@pytest.mark.slow(reason="real deployments, one after the other")
@pytest.mark.timeout(420)
def test_a_topic_is_widened_under_load(tmp_path):
    """Copier and a replica killed on the way, producers switched as told: nothing is missing, doubled or wrong."""
    summary = drill(tmp_path, secrets.randbelow(1 << 31), seconds=8, rate_per_s=200, backlog=2_000)
    print(summary)
    assert summary["differences"] == []
    assert (summary["verify_across"], summary["verify_old"]) == ("ok", "ok")
    assert summary["killed"] == {"copier": 2, "new replica": 1}
    assert summary["after_the_switch"] > 0
