"""Every setting of the program, typed, and where it comes from.

A setting is taken from the first of: the command line, the environment (`ORDER_FACTS_` and the name in
capitals, or `ORDER_FACTS_<NAME>_FILE`: a file that holds it), the TOML file of `--config`, its default.
`load` returns checked `Settings`, or raises UsageError with one line that names the setting. `rules` turns settings
into the domain's rules. Never asks a service.
"""

from processor.settings.definitions import REPLAY, SECRETS, IdentificationRule, Settings, description
from processor.settings.kafka_properties import ALLOWED_FOR, RESERVED_BECAUSE
from processor.settings.registry_properties import REGISTRY_ALLOWED_FOR
from processor.settings.sources import ENVIRONMENT_PREFIX, load

__all__ = ["ALLOWED_FOR", "ENVIRONMENT_PREFIX", "REGISTRY_ALLOWED_FOR", "REPLAY", "RESERVED_BECAUSE", "SECRETS"]
__all__ += ["IdentificationRule", "Settings", "description", "load"]
