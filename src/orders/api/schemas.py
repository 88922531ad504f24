"""JSON Schemas of our structs, with what the decoder demands of the rest of an order: its unknown fields.

What no schema can say: at most 64 levels of nesting, and an integer is written as one (1.0 and 1e2 are not). An order's
`id`, which is passed over, counts here as one of its unknown fields.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from orders.order import MAX_UNKNOWN_FIELDS, NO_NUL, Delivery, Item, Order, Payment

Json = dict[str, Any]
PLACE = "#/components/schemas/"
OPEN = (Order, Delivery, Payment, Item)
"""Objects that may have unknown fields."""
UNKNOWN = "Unknown"


def schemas_of(shapes: Sequence[type], place: str = PLACE) -> dict[str, Json]:
    """The schemas of structs and of all in them by their names; `place` is where they refer to each other."""
    _, schemas = msgspec.json.schema_components(shapes, ref_template=place + "{name}")
    unknown = {"propertyNames": {"pattern": NO_NUL}, "additionalProperties": {"$ref": place + UNKNOWN}}
    for shape in OPEN:
        schemas[shape.__name__] |= {"maxProperties": len(shape.__struct_fields__) + MAX_UNKNOWN_FIELDS, **unknown}
    about = "Any value, without U+0000 in its names and texts"
    schemas[UNKNOWN] = {"description": about, "pattern": NO_NUL, "items": {"$ref": place + UNKNOWN}, **unknown}
    return schemas
