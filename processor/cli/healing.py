"""What `order-facts rejected replay --follow` does with its options."""

import re
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
_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 24 * 3_600_000}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_REASONS: Final = frozenset({Reason.CONTACT_NOT_FOUND, Reason.ORDER_UNKNOWN})


def duration_ms(text: str) -> int:
    """Return a duration such as 90m in ms. Raises UsageError for another text."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise UsageError(f"--within {text}: put a number and a unit there (s, m, h or d), such as 24h")
    return int(found[1]) * _UNITS_MS[found[2]]


def heal(settings: Settings, reasons: frozenset[Reason], within_ms: int | None, *, is_once: bool) -> None:
    """Heal until SIGTERM or SIGINT, or once. Raises UsageError for a reason that does not heal by itself."""
    if other := sorted(reasons - _REASONS):
        raise UsageError(
            f"--reason {other[0].value}: with --follow name contact_not_found, which is always healed, or order_unknown"
        )
    plan = Plan(_WITHIN_MS if within_ms is None else within_ms, unknown_orders=Reason.ORDER_UNKNOWN in reasons)
    if is_once:
        settings = msgspec.structs.replace(settings, http_port=0)
        sent, waiting = heal_once(settings, _deployment(settings), plan)
        print_line(msgspec.json.encode({"replayed": sent, "waiting": waiting}))
        return
    with serving() as stop:
        healer = Healer(settings, _deployment(settings), plan)
        stop.is_working = True
        healer.run(stop)


def _deployment(settings: Settings) -> Deployment:
    """Return what the healer works on. Raises as `startup.check`, and StopError if the healed topic is unfit."""
    found = startup.check(settings)
    name = settings.healed_topic
    healed = found.cluster.required([name])[name]
    require_compact(name, found.cluster.topic_settings(name), "it says which events went back, and must not forget one")
    topics = found.topics
    return Deployment(found.cluster, found.redis, topics.events, topics.rejected, healed, found.lineage, found.index)
