"""Every metric, in one table: kind, name, help, labels with all their values, buckets.

A metric's type says which labels may be counted; `/metrics` and the docs page are made from the table. Names are
those of OpenTelemetry in Prometheus' form where it has one, else they begin with `orders_`. Units are base units.
"""

from pathlib import Path
from typing import Any, Literal, get_args

from orders.logs import SAMPLING
from orders.metrics.files import claim
from orders.metrics.kinds import Counter, Definition, Gauge, Histogram, Layout, Values
from orders.record import Cause, Fault, Outcome
from orders.threads import HOOKS, Task, Thread

Method = Literal["GET", "HEAD", "POST", "_OTHER"]
Page = Literal["/", "/docs", "/problems/{name}", "/openapi.json", "/asyncapi.json", "/schemas/order.json"]
Route = Literal["/orders/{order_uid}", "/orders", "/livez", "/readyz", "/startupz", "/metrics", Page, "unmatched"]
Success = Literal["200", "201", "202", "204", "304"]
Failure = Literal["400", "403", "404", "405", "408", "409", "413", "415", "421", "422", "431", "500", "503", "505"]
Status = Literal[Success, Failure, "_OTHER"]
Request = tuple[Method, Route, Status]
Lookup = Literal["hit", "miss"]
Posted = Literal["created", "replaced", "unchanged", "conflict", "refused", "accepted", "unavailable"]
Full = Literal["connections", "posts", "misses"]
Committed = Literal["committed", "rejected", "away", "setup_wrong", "moved"]
Restored = Literal["start", "database", "emptied"]
ProcessKind = Literal["serve", "ingest", "keep", "kafka", "postgres"]
IngestState = Literal["running", "paused", "stopped"]
Level = Literal["info", "warning", "error"]

Lost = Literal[Thread, Task, "other"]

LOSABLE: dict[str, Lost] = {name: name for name in get_args(Lost)}
LEVELS: dict[str, Level] = {name: name for name in get_args(Level)}
KAFKA = {"messaging_system": ("kafka",)}
QUICK = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
COMMITS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WAYS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)


def labelled(name: str, values: Any) -> dict[str, tuple[str, ...]]:
    """One label with the values of a `Literal`."""
    return {name: get_args(values)}


# ---- HTTP ----

HTTP_SECONDS = Histogram[Request](
    "http_server_request_duration_seconds",
    "Time from the first byte of a request to the last of its answer; what could not be read has method _OTHER",
    QUICK,
    labelled("http_request_method", Method)
    | labelled("http_route", Route)
    | labelled("http_response_status_code", Status)
    | {"url_scheme": ("http",)},
)
LOOKUPS = Counter[Lookup](
    "orders_memory_lookups_total",
    "GETs and HEADs of an order by whether memory had it",
    labelled("result", Lookup),
)
POSTS = Counter[Posted](
    "orders_posts_total",
    "POSTs of an order by what they were told; `accepted` is 202, `unavailable` 503",
    labelled("outcome", Posted),
)
BUSY = Counter[Full](
    "orders_http_busy_total",
    "Requests and connections that were told 503, or closed, because there were as many as may be; by what of",
    labelled("limit", Full),
)
SENT = Counter[None](
    "messaging_client_sent_messages_total",
    "Records that POSTs handed to Kafka's client",
    KAFKA | {"messaging_operation_name": ("send",)},
)

# ---- ingest ----

CONSUMED = Counter[None](
    "messaging_client_consumed_messages_total",
    "Records taken from Kafka, those that were read again included",
    KAFKA | {"messaging_operation_name": ("poll",)},
)
BATCHES = Counter[Cause](
    "orders_batches_total",
    "Batches that went to PostgreSQL by why they did; `retry` is one more try after an outage",
    labelled("cause", Cause),
)
BATCH_RECORDS = Histogram[None]("orders_batch_records", "Records in a batch that went to PostgreSQL", SIZES)
COMMIT_SECONDS = Histogram[Committed](
    "orders_commit_duration_seconds",
    "Time of a transaction of ingest, from its begin to PostgreSQL's answer, by how it ended",
    COMMITS,
    labelled("result", Committed),
)
RECORDS = Counter[Outcome](
    "orders_records_total",
    "Records whose outcome was committed, each once",
    labelled("outcome", Outcome),
)
KEYLESS = Counter[None](
    "orders_records_without_own_key_total",
    "Records committed whose key is not their order_uid: one order may then lie in two partitions",
)
READABLE_SECONDS = Histogram[None](
    "orders_produced_to_readable_seconds",
    "Time from the timestamp of an order's record until a GET finds the order in memory",
    WAYS,
)
DEAD_LETTERS = Counter[Fault](
    "orders_dead_letters_total",
    "Records that became dead letters, by what is wrong with them",
    labelled("reason", Fault),
)

# ---- the keeper and the supervisor ----

RESTORES = Counter[Restored](
    "orders_restores_total",
    "Restores of memory that began: at the start, after the database changed unheard, or after memory was emptied",
    labelled("cause", Restored),
)
RESTORED = Counter[None]("orders_restored_orders_total", "Orders that restores read from PostgreSQL")
NOTICES = Counter[None](
    "orders_notices_total", "Notices of changed orders that the keeper heard, its own machine's included"
)
RESTARTS = Counter[ProcessKind](
    "orders_process_restarts_total",
    "Processes that ended and were started again",
    labelled("kind", ProcessKind),
)

# ---- every process ----

SUPPRESSED = Counter[Level](
    "orders_log_lines_suppressed_total",
    "Log lines that were held back and counted, because many of the same action and reason came at once",
    labelled("level", Level),
)

LOST = Counter[Lost](
    "orders_threads_lost_total",
    "Threads and background tasks that a bug ended, which ends their process; `other` are libraries', which does not",
    labelled("thread", Lost),
)

# ---- asked for at a scrape ----

POSITION = Gauge("orders_position", "Next offset to be committed to PostgreSQL", "partition")
LOG_END = Gauge("orders_log_end", "Offset after the last record in Kafka", "partition")
LAG_MESSAGES = Gauge("orders_lag_messages", "Records in Kafka that are not yet in PostgreSQL", "partition")
LAG_SECONDS = Gauge(
    "orders_lag_seconds",
    "Age of the oldest record in Kafka that is not yet in PostgreSQL; 0: there is none",
    "partition",
)
MEMORY_USED = Gauge("orders_memory_used_bytes", "Bytes of memory that orders take")
MEMORY_LIMIT = Gauge("orders_memory_limit_bytes", "Bytes of memory that orders may take")
MEMORY_ORDERS = Gauge("orders_memory_orders", "Orders whose documents are in memory")
MEMORY_FLOORS = Gauge("orders_memory_floors", "Orders with marks or floors in memory")
RESTORE_DONE = Gauge("orders_restore_done_orders", "Orders read by the restore that continues, or by the last one")
RESTORE_EXPECTED = Gauge("orders_restore_expected_orders", "Orders that the same restore is to read in all")
INGESTS = Gauge(
    "orders_ingests",
    "Ingests of this machine: running, paused (PostgreSQL or Kafka unavailable) or stopped (something misconfigured)",
    "state",
)
PARTITION_STOPPED = Gauge(
    "orders_partition_stopped",
    "Partitions of this machine's ingests that are stopped until somebody resumes them, by why; always 1",
    "partition",
    "reason",
)
READY = Gauge("orders_ready", "Whether a part of /readyz is well: 1 or 0", "part")
READY_FOR = Gauge("orders_ready_for", "Whether this machine is ready for reading or writing: 1 or 0", "purpose")
BUILD = Gauge("orders_build_info", "Release of the service and of Python; always 1", "version", "python")

TABLE: tuple[Definition, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Definition))
"""All of the above, in their order."""

LAYOUT = Layout(TABLE)


def private() -> Values:
    """Values that nobody else reads."""
    return Values(LAYOUT)


def shared(memory: Path) -> Values:
    """Values of this process that all serve processes of the memory read.

    What its logs hold back and the threads that it loses are counted there.
    """
    values = claim(memory, LAYOUT)

    def count(level: str) -> None:
        values.add(SUPPRESSED, LEVELS.get(level, "error"))

    def count_lost(name: str) -> None:
        values.add(LOST, LOSABLE.get(name, "other"))

    SAMPLING.counted = count
    HOOKS.counted = count_lost
    return values
