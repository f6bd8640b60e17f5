"""What an operator does who follows a stop line, and the rows of the operators' table that a line belongs to."""

from contextlib import contextmanager

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from msgspec.structs import replace

from deploy.build.stops import ROWS
from tests.support.deployment import await_condition, deployed
from tests.support.refusals import REQUEST_S, refusal

OUTPUTS = ("group_id", "facts_topic", "rejected_topic")


def require_row(line, name):
    """Require that a line is of exactly this row."""
    assert [row.name for row in ROWS if row.stops_with(line)] == [name], line


def stopped(deployment, name, *command, code=1, **changes):
    """Run a command (without one: `run`), which must refuse with a line of this row; give the line."""
    line = refusal(deployment.command(*(command or ("run",)), check=False, **changes), code)
    require_row(line, name)
    return line


def go_on(deployment, count=None, **changes):
    """Start a replica, await the outputs of all events, and stop it."""
    replica = deployment.replica("again", **changes)
    replica.await_line("partition.positioned")
    deployment.await_accounted(count)
    replica.stop()


@contextmanager
def renewed(deployment, folder):
    """Give the same deployment with a new group and new outputs."""
    settings = replace(deployment.settings, **{name: f"{getattr(deployment.settings, name)}-2" for name in OUTPUTS})
    partitions = deployment.cluster.topics([settings.events_topic])[settings.events_topic].partitions
    with deployed(settings, folder, partitions=partitions) as running:
        running.sent = deployment.sent
        yield running


def configure(deployment, topic, **changes):
    """Set settings of a topic, as an operator can."""
    settings = {name.replace("_", "."): value for name, value in changes.items()}
    entries = [ConfigEntry(*pair, incremental_operation=AlterConfigOpType.SET) for pair in settings.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    (future,) = deployment.cluster.admin.incremental_alter_configs([resource]).values()
    future.result(REQUEST_S)
    await_condition(
        lambda: settings.items() <= deployment.cluster.topic_settings(topic).items(), f"{settings} of {topic}"
    )
