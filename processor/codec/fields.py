"""The domain's records by the names of the schemas: a field has the same name in both, each in its own spelling."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from processor.domain.records import Event, Item, Order

STRUCTS: Final[Mapping[str, type[Struct]]] = {"OrderEvent": Event, "OrderItem": Item, "OrderFact": Order}


def avro_name(field: str) -> str:
    """Return the schemas' name for a field of these structs: `created_at_ms` is createdAt."""
    if field == "event_type":
        return "eventTypeKey"
    first, *rest = field.removesuffix("_ms").split("_")
    return first + "".join(word.capitalize() for word in rest)


def fields_of(struct: type[Struct]) -> dict[str, str]:
    """Return a struct's fields by their names in the schemas, in the struct's order."""
    return {avro_name(field): field for field in struct.__struct_fields__}
