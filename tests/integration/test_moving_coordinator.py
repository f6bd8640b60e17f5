"""Proves that questions to the cluster, and members that were fenced, outlive a coordinator that goes and comes."""

import threading
import time
from contextlib import closing

import pytest
from msgspec.structs import replace

from deploy.local.services import EmbeddedKafka
from processor.errors import RetryError
from processor.kafka.clients import group_consumer
from processor.kafka.cluster import Cluster
from processor.replay.replay_ledger import ReplayLedger
from tests.support.deployment import await_condition, deployed
from tests.support.traffic import contacts, traffic

RESTARTS = 2


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    """Give a broker that a test may kill, and leaves running."""
    broker = EmbeddedKafka(tmp_path_factory.mktemp("moving") / "kafka")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def deployment(settings, tmp_path, kafka):
    """Give a deployment on that broker, with its contact index complete."""
    with deployed(replace(settings, bootstrap_servers=kafka.bootstrap_servers), tmp_path) as running:
        running.send_contacts(contacts())
        running.index()
        yield running


class Questions(threading.Thread):
    """Asks for a group's members and for a topic's ends, again and again, and keeps the answers."""

    def __init__(self, settings):
        super().__init__(name="questions", daemon=True)
        self._settings = settings
        self._cluster = Cluster(settings)
        self.ending = threading.Event()
        self.members, self.offsets, self.failures = [], [], []

    def run(self):
        """Ask until told to stop; only what the client says of a broker that is down is no answer."""
        while not self.ending.wait(0.01):
            try:
                self.members.append(self._cluster.instances(self._settings.group_id))
                self.offsets += self._cluster.ends(self._settings.events_topic, range(3)).values()
            except RetryError as error:
                self.failures.append(error)

    def await_answer(self):
        """Wait for one more answer to both questions."""
        before = len(self.offsets)
        await_condition(lambda: len(self.offsets) > before, lambda: f"no answer: {self.failures[-3:]}")


def test_cluster_is_asked_while_its_coordinator_comes_up(kafka, deployment):
    """A broker is killed again and again under the questions: the process lives, each answer is one, no core burns.

    The client's description of a group ended the process (librdkafka 4605), a broker that had gone was asked for
    without a pause, and offsets of -1 stood among the answers.
    """
    replica = deployment.replica("a")
    replica.await_line("partition.positioned")
    questions = Questions(deployment.settings)
    questions.start()
    try:
        questions.await_answer()
        for _ in range(RESTARTS):
            kafka.kill()
            began, spent = time.monotonic(), time.process_time()
            failures = len(questions.failures)
            await_condition(
                lambda count=failures, began=began: len(questions.failures) > count and time.monotonic() - began > 1,
                "the broker is missed, for long enough to see a core burn",
            )
            busy = (time.process_time() - spent) / (time.monotonic() - began)
            assert busy < 0.5, f"{busy:.0%} of a core while the broker was down"
            kafka.start()
            questions.await_answer()
        await_condition(lambda: questions.members[-1] == {"a"}, lambda: questions.members[-1])
    finally:
        questions.ending.set()
        questions.join()
    assert min(questions.offsets) >= 0
    replica.stop()


@pytest.mark.parametrize("is_restarted", [False, True], ids=["in peace", "and the broker is restarted"])
@pytest.mark.runbook("group.rejoined")
def test_member_fenced_by_a_ghost_comes_back(kafka, deployment, is_restarted):
    """A member that is fenced by one of its name which then says no more waits until that is gone, and joins anew.

    So it is where the answer to its own joining was lost. A coordinator that comes up gives the ghost another
    session: that does not make it another process.
    """
    replica = deployment.replica("a")
    replica.await_line("partition.positioned")
    ghost = group_consumer(replace(deployment.settings, instance_id="a"))
    ghost.subscribe([deployment.settings.events_topic])
    await_condition(lambda: ghost.poll(0.05) or ghost.assignment(), "the ghost has the partitions")
    ghost.close()  # a member of this kind does not leave the group when it ends
    await_condition(
        lambda: any("fenced as a" in line["error"] for line in replica.lines("service.waiting")),
        lambda: replica.tail("not fenced"),
    )
    if is_restarted:
        kafka.kill()
        kafka.start()
    replica.await_line("group.rejoined")
    deployment.send(traffic(seed=90, count=200))
    deployment.await_accounted()
    replica.stop()
    deployment.require_right_outputs()


def test_broker_that_goes_between_two_questions_is_no_open_replay(kafka, deployment, monkeypatch):
    """A replay that has taken over has ended all others' transactions: silence is Kafka's, and is waited for.

    The healer ended with exit code 1 and told to wait for a replay that nobody ran.
    """
    cluster, settings = Cluster(deployment.settings), deployment.settings
    topics = cluster.required([settings.rejected_topic, settings.healed_topic])
    ledger = ReplayLedger(settings, cluster, topics[settings.rejected_topic], topics[settings.healed_topic])
    with closing(ledger):
        ledger.take_over()
        assert ledger.swept() == {}
        asked = ledger._await_coordinator

        def answered_last_time():
            asked()
            kafka.pause()

        monkeypatch.setattr(ledger, "_await_coordinator", answered_last_time)
        try:
            with pytest.raises(RetryError, match="did not return the offsets of group"):
                ledger.swept()
        finally:
            kafka.resume()
