"""What the commands ask of a running system: over HTTP, Kafka and PostgreSQL, wherever it says it is."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Meta, Struct

from orders.errors import StartError, Unavailable
from orders.settings import Settings
from orders.system import state
from orders.system.probe import fetch, url_for

if TYPE_CHECKING:
    from orders.postgres.indexes import IndexState

# ---- get ----


def get(settings: Settings, uid: str, view: str | None) -> bytes:
    """The served document of an order. Raises `StartError` when there is none."""
    url = url_for(settings)
    query = "?" + urlencode({"view": view}) if view else ""
    status, body = fetch(url, f"/orders/{quote(uid, safe='')}{query}")
    if status == HTTPStatus.NOT_FOUND:
        raise StartError(f"there is no order {uid}")
    if status != HTTPStatus.OK:
        raise StartError(f"{url} answered {status}: {body[:200].decode(errors='replace')}")
    return body


def indented(document: bytes) -> bytes:
    """JSON for the eye."""
    return msgspec.json.format(document, indent=2)


# ---- migrate ----


class Migrated(Struct, frozen=True):
    """What brought the schema up to date."""

    applied: Annotated[list[str], Meta(description="the migrations that were applied, in their order")]


def migrate(settings: Settings, show: Callable[[str, int, int], None] | None) -> Migrated:
    """Brings the schema up to date, and shows how far each index is; without `show` only what a start needs.

    Raises `OrdersError`.
    """
    from orders.postgres import indexes, migrations  # noqa: PLC0415 - PostgreSQL, for this command alone

    state.require(settings, "postgres_dsn")
    try:
        applied = migrations.migrate(settings.postgres_dsn)
    except Unavailable as error:
        raise StartError(f"{error}; is its address right?") from None
    if show is None:
        return Migrated(applied)
    return Migrated(applied + indexes.build_all(settings.postgres_dsn, lambda each: show(*shown(each))))


def shown(each: "IndexState") -> tuple[str, int, int]:
    """A build in words, how far it is, and of how much."""
    return f"{each.name}: {each.phase or 'building'}", each.done, each.total


def migrated_text(migrated: Migrated) -> str:
    """What was applied, for a person."""
    from orders.postgres import migrations  # noqa: PLC0415 - as above

    return migrations.describe(migrated.applied)
