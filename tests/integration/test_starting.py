"""Proves that a start survives services that come and go; only one that stays away is a refusal."""

import threading

from msgspec.structs import replace

from deploy.local.services import EmbeddedKafka
from processor.kafka import topics
from processor.replica import startup
from tests.support.deployment import Deployment


def test_broker_killed_in_the_midst_of_a_start_delays_it(settings, tmp_path, monkeypatch):
    """A broker that answered and is then killed is awaited, within startup_timeout_s, as one not yet there."""
    kafka = EmbeddedKafka(tmp_path / "kafka")
    kafka.start()
    restarts: list[threading.Timer] = []
    describe = topics.describe_topics

    def restart():
        kafka.kill()
        kafka.start()

    def kill_first(*arguments):
        if not restarts:
            kafka.pause()  # so that the question is on its way, unanswered, when the broker dies
            restarts.append(threading.Timer(1, restart))
            restarts[0].start()
        return describe(*arguments)

    try:
        own = replace(settings, bootstrap_servers=kafka.bootstrap_servers)
        deployment = Deployment(own, tmp_path)
        deployment.create_topics(3)
        monkeypatch.setattr(topics, "describe_topics", kill_first)
        found = startup.check(own)
        assert found.topics.events.partitions == 3
    finally:
        for timer in restarts:
            timer.join()
        kafka.stop()
    assert len(restarts) == 1
