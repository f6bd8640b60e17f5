"""The conditions that a query calls, and the same calls of a condition's twins.

`<name>_check` raises where an argument is wrong, whatever the data: DuckDB leaves out what cannot change a result, and
an error with it. `<name>_why` gives the orders that put a contact there, too.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import duckdb

CONDITIONS: Final = frozenset(
    {"bought", "bought_category", "bought_all", "ordered", "spent", "spent_on", "average_order", "single_order"}
    | {"first_ordered", "lapsed", "never_ordered", "cancelled", "abandoned", "order_field", "item_field"}
    | {"rfm_group", "rfm_score", "rfm_cell"}
)
"""The macros that analysts combine."""
_NAMES: Final = frozenset({"function_name", "qualified_name"})  # where a call has its name


class _Call(NamedTuple):
    """A call of a condition: its node, whether its contacts are taken away, and where it stands.

    `parts` are the members of a UNION around it, each with the tables that WITH names there; `named` the tables that
    WITH names at the call.
    """

    node: dict[str, Any]
    is_taken_away: bool
    parts: tuple[tuple[dict[str, Any], tuple[Any, ...]], ...]
    named: tuple[Any, ...]


def check_queries(connection: "duckdb.DuckDBPyConnection", query: str) -> list[str]:
    """Return queries that raise where a condition of a valid query has a wrong argument."""
    statement = _parsed(connection, query)["statements"][0]
    return sorted({_twin(connection, call, "check", statement) for call in _calls(statement["node"])})


def reasons_query(connection: "duckdb.DuckDBPyConnection", query: str) -> str | None:
    """Return a query that gives contactId and externalOrderId; None if a valid query calls no condition.

    What stands to the right of EXCEPT takes contacts away, and gives no orders. A member of a UNION gives the orders of
    its own contacts.
    """
    statement = _parsed(connection, query)["statements"][0]
    selects = set()
    for call in _calls(statement["node"]):
        if call.is_taken_away:
            continue
        select = _twin(connection, call, "why", statement)
        for part, named in call.parts:
            whole = _text(connection, part | {"cte_map": {"map": [*named, *part["cte_map"]["map"]]}}, statement)
            select = f"SELECT t.* FROM ({select}) AS t SEMI JOIN ({whole}) AS p(contactId) ON p.contactId = t.contactId"
        selects.add(select)
    return " UNION ALL ".join(sorted(selects)) or None


def _twin(connection: "duckdb.DuckDBPyConnection", call: _Call, suffix: str, statement: dict[str, Any]) -> str:
    """Return a query that selects all that the twin of a called condition gives."""
    function = call.node["function"]
    node = _parsed(connection, f"FROM {function['function_name']}_{suffix}()")["statements"][0]["node"]
    own = node["from_table"]["function"]
    renamed = function | {name: own[name] for name in _NAMES & function.keys()}
    made = node | {"from_table": call.node | {"function": renamed}, "cte_map": {"map": [*call.named]}}
    return _text(connection, made, statement)


def _calls(
    node: Any,
    *,
    is_taken_away: bool = False,
    parts: tuple[Any, ...] = (),
    named: tuple[Any, ...] = (),
) -> Iterator[_Call]:
    """Yield the calls of conditions in a part of a query; the arguments after it say where that stands."""
    match node:
        case {"type": "TABLE_FUNCTION", "function": {"function_name": str(name)}} if name.lower() in CONDITIONS:
            yield _Call(node, is_taken_away, parts, named)
            return
        case {"cte_map": {"map": tables}}:
            for table in tables:
                yield from _calls(table, is_taken_away=is_taken_away, parts=parts, named=named)
                named = (*named, table)
    match node:
        case {"type": "SET_OPERATION_NODE", "setop_type": "EXCEPT", "children": [first, *others]}:
            yield from _calls(first, is_taken_away=is_taken_away, parts=parts, named=named)
            yield from _calls(others, is_taken_away=True, parts=parts, named=named)
        case {"type": "SET_OPERATION_NODE", "setop_type": "UNION", "children": children}:
            for child in children:
                inside = (*parts, (child, named))
                yield from _calls(child, is_taken_away=is_taken_away, parts=inside, named=named)
        case dict():
            rest = [child for key, child in node.items() if key != "cte_map"]
            yield from _calls(rest, is_taken_away=is_taken_away, parts=parts, named=named)
        case list():
            for child in node:
                yield from _calls(child, is_taken_away=is_taken_away, parts=parts, named=named)


def _text(connection: "duckdb.DuckDBPyConnection", node: dict[str, Any], statement: dict[str, Any]) -> str:
    """Return a part of a statement as SQL."""
    whole = {"error": False, "statements": [statement | {"node": node}]}
    return _one(connection, "SELECT json_deserialize_sql($1)", json.dumps(whole))


def _parsed(connection: "duckdb.DuckDBPyConnection", query: str) -> Any:
    return json.loads(_one(connection, "SELECT json_serialize_sql($1)", query))


def _one(connection: "duckdb.DuckDBPyConnection", sql: str, given: str) -> str:
    ((found,),) = connection.execute(sql, [given]).fetchall()
    return str(found)
