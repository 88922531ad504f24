"""Whether the roles of our processes may do what these do, and lead to the same database."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from orders.errors import Forbidden, Misconfigured
from orders.postgres.connection import GRANTS, Connection, connect, translated
from orders.settings import Settings, variable

Needs = Mapping[str, Sequence[str]]
"""Permissions by table, view or sequence."""

WRITES: Needs = {
    "orders": ("select", "insert", "update", "delete"),  # rows are locked for an update that never comes
    "positions": ("select", "insert", "update"),
    "dead_letters": ("select", "insert"),
    "dead_letter_actions": ("select", "insert"),
    "outcomes": ("select", "insert", "update", "delete"),
    "dead_letter_copies": ("select", "insert", "update"),
    "dead_letter_states": ("select",),
    "resumes": ("insert",),
    "documents": ("select",),
    "migrations": ("select",),
    "order_ids": ("usage",),
    "order_versions": ("usage",),
}
"""What ingest, the keeper, `orders run` and the commands of `orders dead-letters` need."""
SERVES: Needs = dict.fromkeys(("documents", "outcomes", "positions", "migrations"), ("select",))
"""What serve needs."""

LACKING = """
select name || ': ' || string_agg(privilege, ', ' order by place)
from unnest(%(names)s::text[], %(privileges)s::text[]) with ordinality as need (name, privilege, place)
where not case when privilege = 'usage' then has_sequence_privilege(to_regclass(name), privilege)
               else has_table_privilege(to_regclass(name), privilege) end
group by name order by min(place)
"""
WHERE = "select system_identifier::text, current_database()::text, pg_is_in_recovery() from pg_control_system()"


class DatabaseIdentity(NamedTuple):
    """A database of one PostgreSQL, or its copy on a standby."""

    system: str
    database: str
    standby: bool


def lacking(connection: Connection, needs: Needs) -> list[str]:
    """What the role lacks, as `orders: insert, delete`; nothing of what is not there at all. Raises our errors."""
    names, privileges = zip(*((name, each) for name, privileges in needs.items() for each in privileges), strict=True)
    with translated():
        rows = connection.execute(LACKING, {"names": list(names), "privileges": list(privileges)}).fetchall()
    return [text for (text,) in rows]


def require(settings: Settings) -> None:
    """Raises `Misconfigured` where a role lacks a permission, or serve would read another database.

    Raises `Unavailable` too.
    """
    written = _admitted(settings.postgres_dsn, WRITES)
    if settings.postgres_dsn_serve:
        require_serving(settings.postgres_dsn_serve, written)


def require_serving(dsn: str, written: DatabaseIdentity) -> None:
    """The same for the connection string of serve, and the place that the others write to."""
    name = variable("postgres_dsn_serve")
    try:
        read = _admitted(dsn, SERVES)
    except Misconfigured as error:
        raise Misconfigured(f"{name}: {error}") from error
    if read != written:
        raise Misconfigured(f"{name} leads to another database or server than {variable('postgres_dsn')}: correct it")


def _admitted(dsn: str, needs: Needs) -> DatabaseIdentity:
    """To which database a connection string leads. Raises `Forbidden` where its role lacks a permission there."""
    with connect(dsn, "access") as connection:
        if found := lacking(connection, needs):
            raise Forbidden(
                f"the role {connection.info.user} lacks permissions on {'; '.join(found)}: grant them; {GRANTS}"
            )
        return place(connection)


def place(connection: Connection) -> DatabaseIdentity:
    """To which database a connection leads. Raises our errors."""
    with translated():
        ((system, database, standby),) = connection.execute(WHERE)
        return DatabaseIdentity(system, database, standby)
