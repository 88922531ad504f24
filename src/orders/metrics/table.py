"""Every metric, in one table: kind, name, help, what to do about a value, labels with all their values, buckets.

A metric's type says which labels may be counted; `/metrics` and the docs page are made from the table. Names are
those of OpenTelemetry in Prometheus' form where it has one, else they begin with `orders_`. Units are base units.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from orders.logs import SAMPLING
from orders.metrics.files import claim
from orders.metrics.kinds import Counter, Definition, Gauge, Histogram, Layout, Values
from orders.record import BatchCause, InvalidKind, Outcome
from orders.threads import HOOKS, Task, Thread

Request = tuple[str, str, str]
"""Method, route and status of a request; which there are, the endpoints declare."""
OTHER = "_OTHER"
"""What stands for a method, or a status, that is not declared."""
UNMATCHED = "unmatched"
"""The route of a request that led to none, or could not be read."""
LookupResult = Literal["hit", "miss"]
Posted = Literal["created", "replaced", "unchanged", "conflict", "refused", "accepted", "unavailable"]
Full = Literal["connections", "posts", "misses", "searches"]
Committed = Literal["committed", "rejected", "unavailable", "misconfigured", "moved"]
Restored = Literal["start", "database", "emptied"]
ProcessKind = Literal["serve", "ingest", "keep", "kafka", "postgres"]
IngestState = Literal["running", "paused", "stopped"]
SearchedBy = Literal[
    "id",
    "created",
    "received",
    "track_number",
    "customer_id",
    "transaction",
    "phone",
    "email",
    "name",
    "name_prefix",
    "q",
    "lookup",
]
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


def http_seconds(rows: Sequence[Request]) -> Histogram[Request]:
    """The histogram of requests, with a row for each of the combinations that can occur."""
    methods, routes, statuses = (tuple(dict.fromkeys(column)) for column in zip(*rows, strict=True))
    return Histogram(
        "http_server_request_duration_seconds",
        "Time from the first byte of a request to the last of its answer; what could not be read has method _OTHER",
        "5xx of orders: OrdersHttpErrors. Slow GETs: does memory miss (OrdersMemoryMisses)? Slow POSTs wait for "
        "PostgreSQL: look at `orders_commit_duration_seconds`. Status `_OTHER` is an answer that no endpoint declares: "
        "report it.",
        QUICK,
        {
            "http_request_method": methods,
            "http_route": routes,
            "http_response_status_code": statuses,
            "url_scheme": ("http",),
        },
        combinations=rows,
    )


LOOKUPS = Counter[LookupResult](
    "orders_memory_lookups_total",
    "GETs and HEADs of an order by whether memory had it",
    "Fewer than half of the orders found come from memory: OrdersMemoryMisses. GETs of orders that do not exist are "
    "misses too and need no action.",
    labelled("result", LookupResult),
)
POSTS = Counter[Posted](
    "orders_posts_total",
    "POSTs of an order by outcome; `accepted` is 202, `unavailable` 503",
    "`accepted`: ingest does not keep up, look at `orders_lag_seconds`. `unavailable`: `/readyz` says what is "
    "unavailable; look at `orders_http_busy_total` too. `conflict` and `refused`: the client has to correct what it "
    "sends.",
    labelled("outcome", Posted),
)
BUSY = Counter[Full](
    "orders_http_busy_total",
    "Requests and connections that returned 503, or were closed, because a limit was reached; by which",
    "Clients were turned away. `posts` and `misses` rise while Kafka or PostgreSQL is slow: look there first. Else "
    "raise ORDERS_HTTP_CONNECTIONS, ORDERS_HTTP_WAITING_POSTS or ORDERS_HTTP_WAITING_MISSES, or add serve processes "
    "or machines. `searches`: OrdersSearchSlow.",
    labelled("limit", Full),
)
SEARCH_SECONDS = Histogram[SearchedBy](
    "orders_search_duration_seconds",
    "Time of a page of a list or a search, or of a lookup that memory could not answer alone, in PostgreSQL and before "
    "it; by what it was looked for, `id` is a list of all",
    "More than a second, or `searches` in `orders_http_busy_total`: OrdersSearchSlow. One value of `by` alone: its "
    "index, see `orders_index_valid`.",
    COMMITS,
    labelled("by", SearchedBy),
)
SENT = Counter[None](
    "messaging_client_sent_messages_total",
    "Records that POSTs handed to Kafka's client",
    "No action by itself: it shows how many of the topic's records come from POSTs.",
    KAFKA | {"messaging_operation_name": ("send",)},
)

# ---- ingest ----

CONSUMED = Counter[None](
    "messaging_client_consumed_messages_total",
    "Records taken from Kafka, those that were read again included",
    "Rises much faster than `orders_records_total`: records are read again, since transactions fail or partitions "
    "change hands. Look at the results in `orders_commit_duration_seconds`.",
    KAFKA | {"messaging_operation_name": ("poll",)},
)
BATCHES = Counter[BatchCause](
    "orders_batches_total",
    "Batches that went to PostgreSQL by why they did; `retry` is one more try after an outage",
    "Mostly `dry`: ingest keeps up. Mostly `records`, `bytes` or `age`: it is busy; if the lag grows too, "
    "OrdersLagGrowing says what to do. `retry`: PostgreSQL was unavailable.",
    labelled("cause", BatchCause),
)
BATCH_RECORDS = Histogram[None](
    "orders_batch_records",
    "Records in a batch that went to PostgreSQL",
    "No action by itself: batches of ORDERS_BATCH_RECORDS mean a backlog, small ones mean that ingest keeps up.",
    SIZES,
)
COMMIT_SECONDS = Histogram[Committed](
    "orders_commit_duration_seconds",
    "Time of a transaction of ingest, from its begin to PostgreSQL's answer, by how it ended",
    "Slow: look at PostgreSQL's disk, locks and other users. `rejected`: bad records are searched for, look at "
    "`orders_dead_letters_total`. `unavailable` and `misconfigured`: run `./orders doctor`. `moved`: another ingest "
    "wrote these records, as when partitions change hands.",
    COMMITS,
    labelled("result", Committed),
)
RECORDS = Counter[Outcome](
    "orders_records_total",
    "Records whose outcome was committed, each once",
    "Does not rise while `orders_lag_seconds` does: OrdersPartitionStuck. `refused` are dead letters; many of them: "
    "OrdersDeadLettersBurst. `conflict`: the condition of a record did not hold; its producer has to know.",
    labelled("outcome", Outcome),
)
KEYLESS = Counter[None](
    "orders_records_without_own_key_total",
    "Records committed whose key is not their order_uid: one order may then lie in two partitions",
    "Correct the producers: the key must be the order_uid. Until then two versions of an order may be applied in "
    "the wrong order.",
)
READABLE_SECONDS = Histogram[None](
    "orders_produced_to_readable_seconds",
    "Time from the timestamp of an order's record until a GET finds the order in memory",
    "Rises while transactions stay fast: records wait in Kafka, look at `orders_lag_seconds`. Records with old "
    "timestamps look slow too.",
    WAYS,
)
DEAD_LETTERS = Counter[InvalidKind](
    "orders_dead_letters_total",
    "Records that became dead letters, by what is wrong with them",
    "Any: OrdersDeadLetters; `./orders dead-letters list` says what is wrong with them. Many at once: "
    "OrdersDeadLettersBurst.",
    labelled("reason", InvalidKind),
)

# ---- the keeper and the supervisor ----

RESTORES = Counter[Restored](
    "orders_restores_total",
    "Restores of memory that began: at the start, after the database changed unheard, or after memory was emptied",
    "`start` needs no action. `database`: the keeper's connection to PostgreSQL breaks, look at the network between "
    "them. `emptied`: the log event `memory_emptied` says why; if it recurs, see OrdersMemoryMisses.",
    labelled("cause", Restored),
)
RESTORED = Counter[None](
    "orders_restored_orders_total",
    "Orders that restores read from PostgreSQL",
    "Stands still during a restore: OrdersRestoreStuck. Else no action.",
)
NOTICES = Counter[None](
    "orders_notices_total",
    "Notices of changed orders that the keeper heard, its own machine's included",
    "Stands still while orders are stored: the keeper does not hear PostgreSQL, and memory may be stale on several "
    "machines. Is a pooler between them? LISTEN needs a direct connection.",
)
RESTARTS = Counter[ProcessKind](
    "orders_process_restarts_total",
    "Processes that ended and were started again",
    "More than three within ten minutes: OrdersProcessesRestarting. A single one: the log event `process_ended` "
    "says how it ended.",
    labelled("kind", ProcessKind),
)

# ---- every process ----

SUPPRESSED = Counter[Level](
    "orders_log_lines_suppressed_total",
    "Log lines that were held back and counted, because many of the same action and reason came at once",
    "The log event `lines_suppressed` says which lines and how many. Fix what floods: the first lines of each kind "
    "are written.",
    labelled("level", Level),
)

LOST = Counter[Lost](
    "orders_threads_lost_total",
    "Threads and background tasks that a bug ended, which ends their process; `other` are libraries', which does not",
    "A bug: report it with the log event `thread_ended` or `task_ended`. The process starts again by itself. After "
    "`other`, restart it if something no longer works.",
    labelled("thread", Lost),
)

# ---- asked for at a scrape ----

POSITION = Gauge(
    "orders_position",
    "Next offset to be committed to PostgreSQL",
    "Stands still while `orders_log_end` rises: OrdersPartitionStuck. Rises more slowly than it: OrdersLagGrowing.",
    "partition",
)
LOG_END = Gauge(
    "orders_log_end",
    "Offset after the last record in Kafka",
    "Compare `orders_position` with it. Goes back: the topic was recreated or its log was truncated, which stops "
    "the partition (OrdersPartitionStopped).",
    "partition",
)
LAG_MESSAGES = Gauge(
    "orders_lag_messages",
    "Records in Kafka that are not yet in PostgreSQL",
    "Shows how much work is left; judge the delay by `orders_lag_seconds`. Above ORDERS_READY_LAG the part `lag` of "
    "`/readyz` is not well.",
    "partition",
)
LAG_SECONDS = Gauge(
    "orders_lag_seconds",
    "Age of the oldest record in Kafka that is not yet in PostgreSQL; 0: there is none",
    "More than a minute: OrdersPartitionStuck if the position stands still, else OrdersLagGrowing. Missing: "
    "PostgreSQL or Kafka is unavailable.",
    "partition",
)
MEMORY_USED = Gauge(
    "orders_memory_used_bytes",
    "Bytes of memory that orders take",
    "At `orders_memory_limit_bytes`, the orders put first are dropped. If misses rise too (OrdersMemoryMisses), "
    "raise ORDERS_MEMORY_BYTES.",
)
MEMORY_LIMIT = Gauge(
    "orders_memory_limit_bytes",
    "Bytes of memory that orders may take",
    "No action by itself: ORDERS_MEMORY_BYTES sets it.",
)
MEMORY_ORDERS = Gauge(
    "orders_memory_orders",
    "Orders whose documents are in memory",
    "Falls to 0: memory was emptied, and a restore fills it again; `orders_restores_total` says why.",
)
MEMORY_RESTRICTIONS = Gauge(
    "orders_memory_restrictions",
    "Orders with fences or minimum versions in memory",
    "No action by itself: it follows how many orders are replaced or deleted within a minute. With restores for "
    "`emptied` it outgrew its bound: OrdersMemoryMisses.",
)
RESTORE_DONE = Gauge(
    "orders_restore_done_orders",
    "Orders read by the restore that continues, or by the last one",
    "Stands still below `orders_restore_expected_orders`: OrdersRestoreStuck.",
)
RESTORE_EXPECTED = Gauge(
    "orders_restore_expected_orders",
    "Orders that the same restore is to read in all",
    "No action by itself: compare `orders_restore_done_orders` with it.",
)
INGESTS = Gauge(
    "orders_ingests",
    "Ingests of this machine: running, paused (PostgreSQL or Kafka unavailable) or stopped (something misconfigured)",
    "Any `stopped`, or no ingest at all: OrdersConsumptionStopped. `paused`: bring PostgreSQL or Kafka back; "
    "ingests continue by themselves.",
    "state",
)
PARTITION_STOPPED = Gauge(
    "orders_partition_stopped",
    "Partitions of this machine's ingests that are stopped until somebody resumes them, by why; always 1",
    "Any: OrdersPartitionStopped. Decide by its reason where to continue, and run `./orders resume`.",
    "partition",
    "reason",
)
READY = Gauge(
    "orders_ready",
    "Whether a part of /readyz is well: 1 or 0",
    "0: `/readyz` gives the reason. `postgres`: OrdersPostgresUnavailable; with `memory` "
    "also OrdersReadingUnavailable. "
    "`kafka`: OrdersKafkaUnavailable. `restore`: OrdersRestoreStuck. `process` is 0 while the machine stops.",
    "part",
)
READY_FOR = Gauge(
    "orders_ready_for",
    "Whether this machine is ready for reading or writing: 1 or 0",
    "0 for `reading`: OrdersReadingUnavailable. 0 for `writing`: `/readyz?for=writing` gives the reason; POSTs fail "
    "or wait.",
    "purpose",
)
INDEX_VALID = Gauge(
    "orders_index_valid",
    "Whether an index that is made beside the running system is valid: 1 or 0; while it is not, its filters are 503",
    "0 for an hour: OrdersIndexNotValid. `./orders status` says whether it is being built, and how far that is.",
    "index",
)
INDEX_BUILD = Gauge(
    "orders_index_build_ratio",
    "How far the present phase of an index's build is, from 0 to 1; it begins again with each phase. There only "
    "while the index is built",
    "Stands still for minutes: the build waits for old transactions. OrdersIndexNotValid says how to find them.",
    "index",
)
BUILD = Gauge(
    "orders_build_info",
    "Release of the service and of Python; always 1",
    "After an upgrade: do all machines have the same release?",
    "version",
    "python",
)

TABLE: tuple[Definition, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Definition))
"""All of the above but the histogram of requests, in their order."""

LAYOUT = Layout(TABLE)
"""What any process may count. A serve process counts requests too: which, the endpoints say, which are above this."""


def private() -> Values:
    """Values that nobody else reads."""
    return Values(LAYOUT)


def shared(memory: Path, layout: Layout = LAYOUT) -> Values:
    """Values of this process that all serve processes of the memory read; another layout has `LAYOUT` as its base.

    What its logs hold back and the threads that it loses are counted there.
    """
    values = claim(memory, layout)

    def count(level: str) -> None:
        values.add(SUPPRESSED, LEVELS.get(level, "error"))

    def count_lost(name: str) -> None:
        values.add(LOST, LOSABLE.get(name, "other"))

    SAMPLING.counted = count
    HOOKS.counted = count_lost
    return values
