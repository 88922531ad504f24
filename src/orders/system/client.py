"""What the commands ask of a running system: over HTTP, Kafka and PostgreSQL, wherever it says it is."""

from http import HTTPStatus
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from orders.errors import Away, StartError
from orders.settings import Settings
from orders.system import state
from orders.system.asking import Part, Ready, ask_ready, fetch, url_for

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


# ---- status ----


class RunningProcess(Struct, frozen=True):
    kind: str
    pid: int


class Http(Struct, frozen=True):
    url: str


class Kafka(Struct, frozen=True):
    bootstrap: str


class Postgres(Struct, frozen=True):
    dsn: str


class Restore(Struct, frozen=True):
    ok: bool
    done: int
    total: int


class Status(Struct, frozen=True):
    """What `orders status --json` writes; `lag` is in messages, null while nobody can tell."""

    processes: list[RunningProcess]
    http: Http
    kafka: Kafka
    postgres: Postgres
    ready: bool
    reason: str
    lag: int | None
    restore: Restore


def status(settings: Settings) -> Status:
    """What runs now, by the state of the data directory and by /readyz."""
    found = state.load(settings.data)
    running = state.alive(settings.data, found)
    if not running:
        found = state.State()  # what an earlier system left, or the one that this directory was copied from
    ready = ask_ready(found.http_url) if running else Ready(parts={"http": Part(reason="nothing runs")})
    restore = ready.parts.get("restore", Part())
    return Status(
        [RunningProcess(each.kind, each.pid) for each in running],
        Http(found.http_url),
        Kafka(found.settings.get("kafka_bootstrap", "")),
        Postgres(found.settings.get("postgres_dsn", "")),
        ready.ready,
        ready.missing,
        ready.parts.get("lag", Part()).messages,
        Restore(restore.ok, restore.done, restore.total),
    )


def status_text(found: Status) -> str:
    """The status for a person, a line each."""
    lines = [
        ("ready", "yes" if found.ready else f"no ({found.reason})"),
        ("HTTP", found.http.url),
        ("Kafka", found.kafka.bootstrap),
        ("PostgreSQL", found.postgres.dsn),
        ("lag", "unknown" if found.lag is None else f"{found.lag} messages"),
        ("restore", restore_text(found.restore)),
        *((process.kind, f"process {process.pid}") for process in found.processes),
    ]
    return "\n".join(f"{name:<12}{text}" for name, text in lines if text)


def restore_text(restore: Restore) -> str:
    """How far memory is restored; while it goes on in percent too."""
    text = f"{restore.done} of {restore.total} orders"
    return text if restore.ok or not restore.total else f"{text} ({100 * restore.done // restore.total} %)"


# ---- migrate ----


class Migrated(Struct, frozen=True):
    """What `orders migrate --json` writes: the migrations that were applied, in their order."""

    applied: list[str]


def migrate(settings: Settings) -> Migrated:
    """Brings the schema up to date. Raises `StartError` or `SetupWrong`."""
    from orders import migrations  # noqa: PLC0415 - PostgreSQL, for this command alone

    state.require(settings, "postgres_dsn")
    try:
        return Migrated(migrations.migrate(settings.postgres_dsn))
    except Away as error:
        raise StartError(f"{error}; is its address right?") from None


def migrated_text(migrated: Migrated) -> str:
    """What was applied, for a person."""
    from orders import migrations  # noqa: PLC0415 - as above

    return migrations.told(migrated.applied)


def as_json(value: object) -> str:
    """One line of JSON."""
    return msgspec.json.encode(value).decode()
