"""What the commands ask of a running system: over HTTP, Kafka and PostgreSQL, wherever it says it is."""

from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Meta, Struct

from orders.errors import StartError, Unavailable
from orders.settings import Settings
from orders.system import state
from orders.system.probe import fetch, url_for

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


def migrate(settings: Settings) -> Migrated:
    """Brings the schema up to date. Raises `StartError` or `Misconfigured`."""
    from orders.postgres import migrations  # noqa: PLC0415 - PostgreSQL, for this command alone

    state.require(settings, "postgres_dsn")
    try:
        return Migrated(migrations.migrate(settings.postgres_dsn))
    except Unavailable as error:
        raise StartError(f"{error}; is its address right?") from None


def migrated_text(migrated: Migrated) -> str:
    """What was applied, for a person."""
    from orders.postgres import migrations  # noqa: PLC0415 - as above

    return migrations.describe(migrated.applied)
