"""Log lines: JSON on standard error, one line for each thing that happens.

`EVENTS` names every event with its own fields, `MEANINGS` says what each means, `TYPES` (in `published`) which type a
field has in every line. Dashboards depend on them. Every line also has `timestamp` (ISO 8601 UTC), `level`, `event`,
`message` (a sentence for people, which may change), `service`, `version` and `instance`. No line holds personal data:
no identifier values, no payloads. A line that cannot be written is dropped; the next one has `dropped_lines`, how many
were lost before it.
"""

from processor.logs.form import SERVICE, configure, dropped_lines, get_logger
from processor.logs.kafka_client_lines import kafka_client_logger, kafka_client_messages, show_kafka_client
from processor.logs.published import EVENTS, MEANINGS

__all__ = [
    "EVENTS",
    "MEANINGS",
    "SERVICE",
    "configure",
    "dropped_lines",
    "get_logger",
    "kafka_client_logger",
    "kafka_client_messages",
    "show_kafka_client",
]
