"""The domain's records by the names of the schemas: a field has the same name in both, each in its own spelling."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from processor.domain.records import Event, Item, Order, public_name

STRUCTS: Final[Mapping[str, type[Struct]]] = {"OrderEvent": Event, "OrderItem": Item, "OrderFact": Order}


def fields_of(struct: type[Struct]) -> dict[str, str]:
    """Return a struct's fields by their names in the schemas, in the struct's order."""
    return {public_name(field): field for field in struct.__struct_fields__}
