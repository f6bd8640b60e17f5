"""What `order-facts rejected replay --follow` does with its options."""

from typing import Final

import msgspec

from processor.cli.options import print_line
from processor.cli.serving import serving
from processor.domain.rejections import Reason
from processor.errors import UsageError
from processor.kafka.topics import require_compact
from processor.replay.healer import Healer, heal_once
from processor.replay.healing import Deployment, Plan
from processor.replica import startup
from processor.settings import Settings

_WITHIN_MS: Final = 24 * 3_600_000
_REASONS: Final = frozenset({Reason.CONTACT_NOT_FOUND, Reason.ORDER_UNKNOWN})


def heal(settings: Settings, reasons: frozenset[Reason], within_ms: int | None, *, is_once: bool) -> None:
    """Heal until SIGTERM or SIGINT, or once. Raises UsageError for a reason that does not heal by itself."""
    if other := sorted(reasons - _REASONS):
        raise UsageError(
            f"--reason {other[0].value}: with --follow name contact_not_found, which is always healed, or order_unknown"
        )
    plan = Plan(_WITHIN_MS if within_ms is None else within_ms, unknown_orders=Reason.ORDER_UNKNOWN in reasons)
    if is_once:
        settings = msgspec.structs.replace(settings, http_port=0)
        sent, waiting = heal_once(settings, _deployment(settings, settings.startup_timeout_s), plan)
        print_line(msgspec.json.encode({"replayed": sent, "waiting": waiting}))
        return
    with serving(settings) as stop:
        healer = Healer(settings, _deployment(settings), plan)
        stop.is_working = True
        healer.run(stop)


def _deployment(settings: Settings, schema_patience_s: float = 0.0) -> Deployment:
    """Return what the healer works on. Raises as `startup.check`, and StopError if the healed topic is unfit."""
    found = startup.check(settings, schema_patience_s)
    name = settings.healed_topic
    healed = found.cluster.required([name])[name]
    require_compact(name, found.cluster.topic_settings(name), "it says which events went back, and must not forget one")
    topics = found.topics
    return Deployment(
        found.cluster, found.redis, topics.events, topics.rejected, healed, found.lineage, found.index, found.wire
    )
