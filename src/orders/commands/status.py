"""What `orders status` shows: asked of the running system over HTTP and of PostgreSQL, at the same time.

Where one of them cannot be asked, the rest is reported, and `unknown` says why a part is missing.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from orders import readiness, settings
from orders.commands.figures import Figures, figures_of
from orders.errors import OrdersError, StartError
from orders.readiness import ReadinessPart, Ready
from orders.record import NEW
from orders.settings import Settings, without_password
from orders.system import state
from orders.system.probe import PATHS, READY_SECONDS, fetch, http_url
from orders.timing import monotonic

STATEMENT_SECONDS = 3.0
"""How long PostgreSQL may take for each of its figures."""
COUNTED = 100_000
"""Up to so many orders are counted, which takes some 20 ms; more are estimated."""
SAMPLE_SECONDS = 0.5
"""How far apart two looks at a restore are, from which its remaining time is reckoned."""


class RunningProcess(Struct, frozen=True):
    kind: Annotated[str, Meta(description="what it is, such as `serve`, `ingest:0` or `postgres`")]
    pid: Annotated[int, Meta(description="its process id")]


class Http(Struct, frozen=True):
    """Where HTTP is asked, and whether this service answers there."""

    url: Annotated[str, Meta(description="where it is asked; empty where nothing runs and no address was given")]
    answers: Annotated[bool, Meta(description="whether this service answers there")]


class KafkaStatus(Struct, frozen=True):
    bootstrap: Annotated[str, Meta(description="addresses of its brokers; empty where nothing runs")]
    topic: Annotated[str, Meta(description="the topic of the orders")] = ""


class PostgresStatus(Struct, frozen=True):
    dsn: Annotated[str, Meta(description="its address, without the password; empty where nothing runs")]


class Orders(Struct, frozen=True):
    stored: Annotated[int | None, Meta(description="how many PostgreSQL has")] = None
    estimated: Annotated[bool, Meta(description=f"whether that is an estimate, as above {COUNTED:,}")] = False
    in_memory: Annotated[int | None, Meta(description="how many memory has")] = None


class MemoryUse(Struct, frozen=True):
    used_bytes: Annotated[int | None, Meta(description="bytes that orders take in it")] = None
    limit_bytes: Annotated[int | None, Meta(description="bytes that they may take")] = None


class PartitionStatus(Struct, frozen=True):
    partition: Annotated[int, Meta(description="its number")]
    position: Annotated[int | None, Meta(description="the next offset for PostgreSQL")] = None
    end: Annotated[int | None, Meta(description="the offset that Kafka gives the next record")] = None
    lag: Annotated[int | None, Meta(description="records between the two")] = None
    lag_seconds: Annotated[float | None, Meta(description="age in seconds of the first of those")] = None
    stop: Annotated[
        str | None,
        Meta(
            description="the kind of its [stop](operations.md#positions), `new` while it is read "
            "[in rounds](operations.md#more-partitions); null where it is read as ever"
        ),
    ] = None
    reason: Annotated[str, Meta(description="the same in a sentence; else empty")] = ""


class DeadLetters(Struct, frozen=True):
    open: Annotated[int | None, Meta(description="how many are neither replayed nor discarded")] = None


class RestoreStatus(Struct, frozen=True):
    ok: Annotated[bool, Meta(description="whether it is finished")] = False
    done: Annotated[int, Meta(description="orders that are restored")] = 0
    total: Annotated[int, Meta(description="orders that there are to restore")] = 0
    remaining_seconds: Annotated[
        float | None, Meta(description="seconds that it will still take, while it is under way")
    ] = None


class IndexStatus(Struct, frozen=True):
    name: Annotated[str, Meta(description="its name in PostgreSQL")]
    filters: Annotated[str, Meta(description="the filters of a list that wait for it")]
    state: Annotated[str, Meta(description="`building`; `missing` or `invalid` where nobody builds it now")]
    phase: Annotated[str, Meta(description="the phase of its build, in PostgreSQL's words; empty where unknown")] = ""
    done: Annotated[int, Meta(description="how much of the phase is done: blocks, rows or transactions")] = 0
    total: Annotated[int, Meta(description="of how much; 0 where unknown")] = 0


class Status(Struct, frozen=True):
    """What runs, and how it is. A figure that cannot be had is null."""

    version: Annotated[str | None, Meta(description="the release that runs")]
    uptime_seconds: Annotated[float | None, Meta(description="seconds that `orders run` has been running")]
    data_dir: Annotated[str, Meta(description="the data directory that was looked in")]
    processes: Annotated[list[RunningProcess], Meta(description="the processes that belong to it")]
    http: Annotated[Http, Meta(description="the HTTP server")]
    kafka: Annotated[KafkaStatus, Meta(description="the Kafka that the system uses")]
    postgres: Annotated[PostgresStatus, Meta(description="the PostgreSQL that it uses")]
    ready: Annotated[bool, Meta(description="whether it is ready for reading, as `/readyz` has it")]
    writing: Annotated[bool, Meta(description="whether it is ready for writing")]
    reason: Annotated[str, Meta(description="why it is not ready; else empty")]
    orders: Annotated[Orders, Meta(description="how many orders there are")]
    memory: Annotated[MemoryUse, Meta(description="how full the shared memory is")]
    lag: Annotated[int | None, Meta(description="records in Kafka that are not yet in PostgreSQL")]
    partitions: Annotated[list[PartitionStatus], Meta(description="each partition of the topic")]
    dead_letters: Annotated[DeadLetters, Meta(description="the dead letters")]
    restore: Annotated[RestoreStatus, Meta(description="the last restore of memory from PostgreSQL")]
    indexes: Annotated[list[IndexStatus], Meta(description="indexes that are not valid yet; mostly none")]
    unknown: Annotated[
        dict[str, str],
        Meta(description="why figures could not be had, by name, such as `orders.stored`, `memory` or `partitions`"),
    ]

    @property
    def runs(self) -> bool:
        """Whether there is a system: its processes, or one that answers at the address that was given."""
        return bool(self.processes) or self.http.answers


# ---- where to look ----


class Where(NamedTuple):
    """The system that is asked: `url` is empty where there is none; `settings` lead to its PostgreSQL."""

    settings: Settings
    url: str
    found: state.SystemState
    running: list[state.StartedProcess]


def where(environment: Mapping[str, str], options: Mapping[str, Any]) -> Where:
    """The address that is given, else the system of the data directory. Raises `UsageError`."""
    joined = state.joined(environment, options)
    found = state.load(joined.data)
    running = state.alive(joined.data, found)
    if running and (url := state.url(joined)):
        return Where(joined, url, found, running)
    given = {row.name for row in settings.explain(environment, options) if row.origin != settings.DEFAULT}
    alone = settings.load(environment, options)
    url = http_url(alone.http_host, alone.http_port) if given & {*state.ADDRESS} and alone.http_port else ""
    return Where(alone, url, state.SystemState(), running)


# ---- asking ----


class Answers(NamedTuple):
    """What was said, or why nothing was."""

    ready: Ready | str
    figures: Figures | str
    stored: "StoredFigures"


class StoredFigures(NamedTuple):
    """PostgreSQL's figures, each or why it is unknown: orders and whether that is exact, dead letters, and so on."""

    orders: tuple[int, bool] | str
    open_dead_letters: int | str
    standing: "list[StoredPartition] | str"
    indexes: list[IndexStatus] | str


class StoredPartition(NamedTuple):
    """Where a partition stands in PostgreSQL, and why it is stopped if it is: in a word, and in a sentence."""

    partition: int
    offset: int
    stop: str | None = None
    reason: str | None = None


def status(environment: Mapping[str, str], options: Mapping[str, Any]) -> Status:
    """What runs, and how it is; within some seconds, whatever hangs. Raises `UsageError`."""
    place = where(environment, options)
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(ask, place) for ask in (_ready, _figures, _stored)]
        answers = Answers._make([each.result() for each in asked])
    return _status(place, answers)


def _ready(place: Where) -> Ready | str:
    if not place.url:
        return f"nothing runs in {place.settings.data}: start it with `orders run`"
    try:
        return readiness.read(fetch(place.url, PATHS["ready"], READY_SECONDS)[1])
    except StartError:
        return f"nothing answers at {place.url}"
    except msgspec.MsgspecError:
        return f"what answers at {place.url} is not this service"


def _figures(place: Where) -> Figures | str:
    if not place.url:
        return "nothing runs"
    try:
        answered, body = fetch(place.url, "/metrics", READY_SECONDS)
    except StartError:
        return f"{place.url}/metrics does not answer"
    try:
        return figures_of(body.decode(errors="replace"))
    except ValueError:
        return f"{place.url}/metrics answers {answered} without the figures of this service"


def _stored(place: Where) -> StoredFigures:
    from orders.postgres import indexes  # noqa: PLC0415 - PostgreSQL, for this command alone
    from orders.postgres.connection import connect  # noqa: PLC0415 - as above

    if not place.settings.postgres_dsn:
        reason = "give ORDERS_POSTGRES_DSN" if place.url else "nothing runs"
        return StoredFigures(reason, reason, reason, reason)
    try:
        connection = connect(place.settings.postgres_dsn, "status", statement_seconds=STATEMENT_SECONDS)
    except OrdersError as error:
        reason = refused(error, place)
        return StoredFigures(reason, reason, reason, reason)
    with connection:
        ask = partial(_rows, connection)
        orders = ask("count_orders", lambda rows: rows[0], most=COUNTED)
        dead_letters = ask("open_dead_letters", lambda rows: rows[0][0])
        standing = ask("standing_partitions", _standing, topic=place.settings.kafka_topic)
        building = ask("index_states", _not_valid, names=indexes.names())
        return StoredFigures(orders, dead_letters, standing, building)


def _not_valid(rows: list[Any]) -> list[IndexStatus]:
    from orders.search.criteria import filters_of  # noqa: PLC0415 - as above

    return [IndexStatus(name, ", ".join(filters_of(name)), *row) for name, *row in rows if row[0] != "valid"]


def _standing(rows: list[Any]) -> list[StoredPartition]:
    found = [StoredPartition(*row) for row in rows]
    return [each._replace(reason=NEW) if each.stop == "new" else each for each in found]


def _rows(connection: Any, query: str, made: Callable[[list[Any]], Any], **values: object) -> Any:
    """What `made` makes of the rows, or why there are none."""
    from orders.postgres.connection import queries, translated  # noqa: PLC0415 - as above

    try:
        with translated():
            return made(connection.execute(queries[query], values).fetchall())
    except OrdersError as error:
        return str(error)


def refused(error: OrdersError, place: Where) -> str:
    """Why PostgreSQL cannot be asked."""
    if place.running and "no password supplied" in str(error):
        return "only the running system knows PostgreSQL's password: give ORDERS_POSTGRES_DSN"
    return str(error)


# ---- putting it together ----


def _status(place: Where, answers: Answers) -> Status:
    ready = answers.ready if isinstance(answers.ready, Ready) else Ready()
    figures = answers.figures if isinstance(answers.figures, Figures) else Figures()
    reason = answers.ready if isinstance(answers.ready, str) else ready.missing
    unknown: dict[str, str] = {}
    stored, exact = _known(answers.stored.orders, (None, True), "orders.stored", unknown)
    open_dead_letters = _known(answers.stored.open_dead_letters, None, "dead_letters.open", unknown)
    standing = _known(answers.stored.standing, [], "partitions.reason", unknown)
    indexes = _known(answers.stored.indexes, [], "indexes", unknown)
    partitions = partitions_of(figures, standing, ready.parts.get("assignment", ReadinessPart(ok=False)).reason)
    if isinstance(answers.figures, str):
        unknown |= dict.fromkeys(("orders.in_memory", "memory", "partitions"), answers.figures)
    else:
        unknown |= missing(figures, partitions, ready)
    if ready.lag.messages is None:
        unknown["lag"] = ready.lag.reason or reason
    started_at = place.found.started_at
    if not started_at:
        unknown["uptime_seconds"] = "only the machine that it runs on knows" if place.url else "nothing runs"
    version = figures.version or place.found.version or None
    if version is None:
        unknown["version"] = reason
    return Status(
        version,
        round(monotonic() - started_at, 1) if started_at else None,
        str(place.settings.data),
        [RunningProcess(each.kind, each.pid) for each in place.running],
        Http(place.url, isinstance(answers.ready, Ready)),
        KafkaStatus(_theirs(place, "kafka_bootstrap"), _theirs(place, "kafka_topic")),
        PostgresStatus(without_password(_theirs(place, "postgres_dsn"))),
        ready.ready,
        ready.writing,
        reason,
        Orders(stored, not exact, figures.memory_orders),
        MemoryUse(figures.memory_used, figures.memory_limit),
        ready.lag.messages,
        partitions,
        DeadLetters(open_dead_letters),
        _restore(place, ready.restore),
        indexes,
        unknown,
    )


def _theirs(place: Where, name: str) -> str:
    """A setting of the system that is asked: its own word, else what was given; empty where there is none."""
    if not place.url:
        return ""
    return str(place.found.settings.get(name) or getattr(place.settings, name))


def _known(answer: Any, otherwise: Any, name: str, unknown: dict[str, str]) -> Any:
    """An answer; where it is a reason, that is noted under `name`."""
    if isinstance(answer, str):
        unknown[name] = answer
        return otherwise
    return answer


def missing(figures: Figures, partitions: list[PartitionStatus], ready: Ready) -> dict[str, str]:
    """What `/metrics` left out, and why."""
    found: dict[str, str] = {}
    if figures.memory_used is None or not figures.memory_limit:
        found |= dict.fromkeys(("orders.in_memory", "memory"), "the shared memory cannot be read")
    for name, is_missing in (
        ("kafka", not figures.partitions or any(each.end is None for each in partitions)),
        ("postgres", any(each.position is None for each in partitions)),
    ):
        reason = ready.parts.get(name, ReadinessPart(ok=True)).reason
        if is_missing and reason:
            found["partitions"] = reason
    return found


def partitions_of(figures: Figures, standing: list[StoredPartition], reason: str) -> list[PartitionStatus]:
    """Each partition; those that ingests of the machine call stopped are so, whatever PostgreSQL has of them.

    `reason` is what /readyz says of one of them: PostgreSQL has no sentence for a topic that was recreated.
    """
    found = {number: PartitionStatus(number, **each) for number, each in figures.partitions.items()}
    for each in standing:
        if each.stop or not figures.partitions:
            known = found.get(each.partition, PartitionStatus(each.partition, position=each.offset))
            found[each.partition] = replace(known, stop=each.stop, reason=each.reason or "")
    for number, kind in figures.stopped.items():
        known = found.get(number, PartitionStatus(number))
        if known.stop != kind:
            found[number] = replace(known, stop=kind, reason=reason)
    return [found[number] for number in sorted(found)]


def _restore(place: Where, first: readiness.RestorePart) -> RestoreStatus:
    """Where one is under way, a second look shows how fast."""
    restore = RestoreStatus(first.ok, first.done, first.total)
    if first.ok or not first.total:
        return restore
    began = monotonic()
    time.sleep(SAMPLE_SECONDS)
    with suppress(StartError, msgspec.MsgspecError):
        later = readiness.read(fetch(place.url, PATHS["ready"], READY_SECONDS)[1]).restore
        seconds = remaining(first, later, monotonic() - began)
        return RestoreStatus(later.ok, later.done, later.total, seconds)
    return restore


def remaining(first: readiness.RestorePart, later: readiness.RestorePart, seconds: float) -> float | None:
    """How long a restore will still take, from two looks at it that are `seconds` apart; None where it stands."""
    if later.ok or later.done <= first.done:
        return None
    return round(max(0, later.total - later.done) * seconds / (later.done - first.done), 1)
