"""Writes the Grafana dashboard, deploy/grafana/orders.json. `python -m tools.dashboard`.

Panels stand here in the order of an order's way. A test says when the file is no longer what stands here.

The dashboard is right over several machines: counts are added up; what belongs to the topic and is the same on each
machine is taken as the largest; what belongs to one machine is shown for each.
"""

import json
from pathlib import Path

from tools.grafana import Panel, Query, Row, Step, dashboard

FILE = Path(__file__).parents[1] / "deploy/grafana/orders.json"
ORDER = 'http_route="/orders/{order_uid}"'

GREEN, YELLOW, RED = "green", "yellow", "red"
GOOD_IS_ONE: tuple[Step, ...] = ((None, RED), (1, GREEN))
BAD_FROM_ONE: tuple[Step, ...] = ((None, GREEN), (1, RED))


def quantiles(metric: str, by: str = "") -> list[Query]:
    """Median and 99th percentile of a histogram, over all machines."""
    legend = f"{{{{{by}}}}} " if by else ""
    grouped = f"le, {by}" if by else "le"
    return [
        Query(
            f"histogram_quantile({q}, sum by ({grouped}) (rate({metric}_bucket{{OF}}[$__rate_interval])))",
            f"{legend}p{q * 100:g}",
        )
        for q in (0.5, 0.99)
    ]


def rate(metric: str, by: str) -> list[Query]:
    """A counter's rate by a label, over all machines."""
    return [Query(f"sum by ({by}) (rate({metric}{{OF}}[$__rate_interval]))", f"{{{{{by}}}}}")]


SECONDS_STEPS: tuple[Step, ...] = ((None, GREEN), (10, YELLOW), (60, RED))

OVERVIEW = Row(
    "Overview",
    [
        Panel(
            "Machines that answer",
            "Machines whose /metrics was read, of those that Prometheus knows.",
            "none",
            [Query("sum(up{OF})", "answer"), Query("count(up{OF})", "known")],
            "stat",
            width=4,
            height=4,
            alerts=["OrdersDown"],
        ),
        Panel(
            "Ready",
            "Machines that are ready for reading, and for writing too: what /readyz and /readyz?for=writing say.",
            "none",
            [Query("min by (instance, purpose) (orders_ready_for{OF})", "{{instance}} {{purpose}}")],
            "stat",
            width=4,
            height=4,
            steps=GOOD_IS_ONE,
            words=(("0", "no"), ("1", "yes")),
        ),
        Panel(
            "Records in",
            "Records whose outcome was committed to PostgreSQL, a second.",
            "ops",
            [Query("sum(rate(orders_records_total{OF}[$__rate_interval]))", "records")],
            "stat",
            width=4,
            height=4,
        ),
        Panel(
            "Lag",
            "Age of the oldest record in Kafka that is not yet in PostgreSQL, of the partition that is furthest "
            "behind.",
            "s",
            [Query("max(orders_lag_seconds{OF})", "lag")],
            "stat",
            width=4,
            height=4,
            steps=SECONDS_STEPS,
            alerts=["OrdersLagGrowing", "OrdersPartitionStuck"],
        ),
        Panel(
            "Dead letters",
            "Records that became dead letters within the time that is shown.",
            "none",
            [Query("sum(increase(orders_dead_letters_total{OF}[$__range]))", "dead letters")],
            "stat",
            width=4,
            height=4,
            steps=BAD_FROM_ONE,
            alerts=["OrdersDeadLetters", "OrdersDeadLettersBurst"],
        ),
        Panel(
            "GET p99",
            "99 of 100 GETs of an order are answered within this time.",
            "s",
            [
                Query(
                    "histogram_quantile(0.99, sum by (le) (rate(http_server_request_duration_seconds_bucket"
                    f'{{OF, http_request_method="GET", {ORDER}}}[$__rate_interval])))',
                    "p99",
                )
            ],
            "stat",
            width=4,
            height=4,
            steps=((None, GREEN), (0.05, YELLOW), (0.5, RED)),
        ),
        Panel(
            "Parts of readiness",
            "What /readyz looks at: 1 is well. How long PostgreSQL or Kafka has been unavailable is seen here. A "
            "machine may have no "
            "partition because others have them all; then its `assignment` is 0.",
            "none",
            [Query("min by (instance, part) (orders_ready{OF})", "{{instance}} {{part}}")],
            width=12,
            steps=GOOD_IS_ONE,
            most=1,
            alerts=["OrdersPostgresUnavailable", "OrdersKafkaUnavailable", "OrdersReadingUnavailable"],
        ),
        Panel(
            "Ingests",
            "Ingests by what they do. Paused: PostgreSQL or Kafka is unavailable; they continue by themselves. "
            "Stopped: something is misconfigured, and somebody has to fix it.",
            "none",
            [Query("sum by (state) (orders_ingests{OF})", "{{state}}")],
            width=8,
            alerts=["OrdersConsumptionStopped"],
        ),
        Panel(
            "Stopped partitions",
            "Partitions that are not read on until somebody decides where and says so with `orders resume`, by why.",
            "none",
            [Query("max by (partition, reason) (orders_partition_stopped{OF})", "{{partition}}: {{reason}}")],
            width=4,
            alerts=["OrdersPartitionStopped"],
        ),
    ],
)

INGEST = Row(
    "Ingest: from Kafka to PostgreSQL",
    [
        Panel(
            "Taken from Kafka",
            "Records that ingests read, those that were read again included. More than was committed: batches are "
            "tried again.",
            "ops",
            [
                Query("sum(rate(messaging_client_consumed_messages_total{OF}[$__rate_interval]))", "read"),
                Query("sum(rate(orders_records_total{OF}[$__rate_interval]))", "committed"),
            ],
        ),
        Panel(
            "Records by outcome",
            "What became of the records that were committed. `refused` are dead letters.",
            "ops",
            rate("orders_records_total", "outcome"),
            stacked=True,
        ),
        Panel(
            "Dead letters by reason",
            "Records that were refused, by what is wrong with them.",
            "ops",
            rate("orders_dead_letters_total", "reason"),
            alerts=["OrdersDeadLetters", "OrdersDeadLettersBurst"],
        ),
        Panel(
            "Lag in seconds",
            "Age of the first record of each partition that is not yet in PostgreSQL. Not told while PostgreSQL or "
            "Kafka is unavailable.",
            "s",
            [Query("max by (partition) (orders_lag_seconds{OF})", "{{partition}}")],
            steps=SECONDS_STEPS,
            limits=True,
            alerts=["OrdersLagGrowing", "OrdersPartitionStuck"],
        ),
        Panel(
            "Lag in messages",
            "Offsets of each partition between the stored position and the end of the log.",
            "none",
            [Query("max by (partition) (orders_lag_messages{OF})", "{{partition}}")],
        ),
        Panel(
            "Positions and ends",
            "How fast the log of each partition grows, and how fast its stored position follows.",
            "ops",
            [
                Query("max by (partition) (deriv(orders_log_end{OF}[$__rate_interval]))", "{{partition}} end"),
                Query("max by (partition) (deriv(orders_position{OF}[$__rate_interval]))", "{{partition}} position"),
            ],
        ),
        Panel(
            "Produced to readable",
            "Time from the timestamp of an order's record until a GET finds the order in memory.",
            "s",
            quantiles("orders_produced_to_readable_seconds"),
        ),
        Panel(
            "Transactions: duration",
            "Time of a transaction of ingest, from its begin to PostgreSQL's answer.",
            "s",
            quantiles("orders_commit_duration_seconds"),
        ),
        Panel(
            "Transactions by result",
            "`rejected`: PostgreSQL refused what it held, and its halves are tried. `moved`: somebody else wrote "
            "these records. `unavailable` "
            "and `misconfigured` are tried again.",
            "ops",
            rate("orders_commit_duration_seconds_count", "result"),
            stacked=True,
        ),
        Panel(
            "Batches by cause",
            "Why batches went to PostgreSQL. `dry`: nothing more was there, so ingest keeps up. `records`, `bytes`, "
            "`age`: it is busy.",
            "ops",
            rate("orders_batches_total", "cause"),
            stacked=True,
        ),
        Panel("Batch size", "Records in a batch.", "none", quantiles("orders_batch_records")),
        Panel(
            "Records without their own key",
            "Records whose key is not their order_uid: one order may then lie in two partitions, which have no order "
            "among them.",
            "ops",
            [Query("sum(rate(orders_records_without_own_key_total{OF}[$__rate_interval]))", "records")],
        ),
    ],
)

MEMORY = Row(
    "Memory",
    [
        Panel(
            "Hit ratio",
            "Share of the lookups that memory answered. Lookups of orders that do not exist are misses too.",
            "percentunit",
            [
                Query(
                    'sum by (instance) (rate(orders_memory_lookups_total{OF, result="hit"}[$__rate_interval])) / '
                    "sum by (instance) (rate(orders_memory_lookups_total{OF}[$__rate_interval]))",
                    "{{instance}}",
                )
            ],
            most=1,
            alerts=["OrdersMemoryMisses"],
        ),
        Panel(
            "Bytes",
            "What orders take in the memory of each machine, and what they may take (ORDERS_MEMORY_BYTES). When it "
            "is full the "
            "orders that were put first go.",
            "bytes",
            [
                Query("max by (instance) (orders_memory_used_bytes{OF})", "{{instance}} used"),
                Query("max by (instance) (orders_memory_limit_bytes{OF})", "{{instance}} limit"),
            ],
        ),
        Panel(
            "Orders",
            "Orders whose documents are in the memory of each machine.",
            "none",
            [Query("max by (instance) (orders_memory_orders{OF})", "{{instance}}")],
        ),
        Panel(
            "Fences and minimum versions",
            "Orders that are being, or were within the last minute, replaced or deleted.",
            "none",
            [Query("max by (instance) (orders_memory_restrictions{OF})", "{{instance}}")],
            width=6,
        ),
        Panel(
            "Restore",
            "Orders that the restore that continues, or the last one, has read, and how many it is to read.",
            "none",
            [
                Query("max by (instance) (orders_restore_done_orders{OF})", "{{instance}} done"),
                Query("max by (instance) (orders_restore_expected_orders{OF})", "{{instance}} expected"),
            ],
            width=6,
            alerts=["OrdersRestoreStuck"],
        ),
        Panel(
            "Restores",
            "Restores that began. `database`: the keeper was cut off while orders were committed. `emptied`: memory "
            "failed, or fences "
            "and minimum versions outgrew their bound.",
            "none",
            [
                Query("sum by (cause) (increase(orders_restores_total{OF}[$__rate_interval]))", "{{cause}}"),
            ],
            width=6,
        ),
        Panel(
            "The keeper's work",
            "Orders that restores read, and notices of changed orders that keepers heard: each machine hears all of "
            "them.",
            "ops",
            [
                Query("sum(rate(orders_restored_orders_total{OF}[$__rate_interval]))", "orders restored"),
                Query("sum(rate(orders_notices_total{OF}[$__rate_interval]))", "notices heard"),
            ],
            width=6,
        ),
    ],
)

HTTP = Row(
    "HTTP",
    [
        Panel(
            "Requests by status",
            "Answers a second. 5xx of /readyz are those of a machine that is not ready.",
            "reqps",
            rate("http_server_request_duration_seconds_count", "http_response_status_code"),
            stacked=True,
            alerts=["OrdersHttpErrors"],
        ),
        Panel(
            "Requests for orders that fail",
            "Share of the requests for orders that returned 500 or 503.",
            "percentunit",
            [
                Query(
                    "sum by (instance) (rate(http_server_request_duration_seconds_count"
                    '{OF, http_route=~"/orders(/.*)?", http_response_status_code=~"5.."}[$__rate_interval])) / '
                    "sum by (instance) (rate(http_server_request_duration_seconds_count"
                    '{OF, http_route=~"/orders(/.*)?"}[$__rate_interval]))',
                    "{{instance}}",
                )
            ],
            steps=((None, GREEN), (0.01, YELLOW), (0.05, RED)),
            most=1,
            alerts=["OrdersHttpErrors"],
        ),
        Panel(
            "Duration by route",
            "From the first byte of a request to the last of its answer. A POST waits for its outcome in PostgreSQL.",
            "s",
            quantiles("http_server_request_duration_seconds", by="http_route"),
        ),
        Panel(
            "POSTs by what they were told",
            "`accepted` is 202: Kafka has it, PostgreSQL not yet. `unavailable` is 503.",
            "ops",
            rate("orders_posts_total", "outcome"),
            width=8,
            stacked=True,
        ),
        Panel(
            "Sent to Kafka",
            "Records that POSTs handed to Kafka's client.",
            "ops",
            [Query("sum(rate(messaging_client_sent_messages_total{OF}[$__rate_interval]))", "records")],
            width=8,
        ),
        Panel(
            "Turned away",
            "503 `busy`: there were as many connections, or POSTs or misses that wait, as the settings allow.",
            "ops",
            rate("orders_http_busy_total", "limit"),
            width=8,
            alerts=["OrdersSearchSlow"],
        ),
        Panel(
            "Searches: duration",
            "Time of pages of lists and searches in PostgreSQL, by what they were looked for. `lookup`: many uids at "
            "once.",
            "s",
            quantiles("orders_search_duration_seconds", by="by"),
            width=12,
            alerts=["OrdersSearchSlow"],
        ),
        Panel(
            "Searches",
            "Pages of lists and searches that were asked of PostgreSQL, by what they were looked for.",
            "ops",
            rate("orders_search_duration_seconds_count", "by"),
            width=12,
            stacked=True,
        ),
    ],
)

PROCESSES = Row(
    "Processes",
    [
        Panel(
            "Restarts",
            "Processes that ended and were started again, by kind.",
            "none",
            [
                Query(
                    "sum by (instance, kind) (increase(orders_process_restarts_total{OF}[$__rate_interval]))",
                    "{{instance}} {{kind}}",
                )
            ],
            width=12,
            steps=BAD_FROM_ONE,
            alerts=["OrdersProcessesRestarting"],
        ),
        Panel(
            "Releases",
            "Release of the service and of Python on each machine.",
            "none",
            [Query("max by (instance, version, python) (orders_build_info{OF})")],
            "table",
            width=12,
        ),
        Panel(
            "Log lines held back",
            "Lines that were counted instead of written, because many of the same action and reason came at once.",
            "ops",
            rate("orders_log_lines_suppressed_total", "level"),
            width=12,
        ),
        Panel(
            "Lost threads",
            "Threads and background tasks that a bug ended, and with them their process; `other` are libraries'.",
            "none",
            [
                Query(
                    "sum by (instance, thread) (increase(orders_threads_lost_total{OF}[$__rate_interval]))",
                    "{{instance}} {{thread}}",
                )
            ],
            width=12,
            steps=BAD_FROM_ONE,
        ),
        Panel(
            "Indexes",
            "Indexes that are made beside the running system: 1 where one is valid. Until then its filters are 503.",
            "none",
            [Query("min by (index) (orders_index_valid{OF})", "{{index}}")],
            width=12,
            most=1,
            alerts=["OrdersIndexNotValid"],
        ),
        Panel(
            "Builds of indexes",
            "How far the present phase of a build is; it begins again with each phase.",
            "percentunit",
            [Query("max by (index) (orders_index_build_ratio{OF})", "{{index}}")],
            width=12,
            most=1,
        ),
    ],
)

ROWS = (OVERVIEW, INGEST, MEMORY, HTTP, PROCESSES)


def text() -> str:
    """The file."""
    about = "The order service, in the order of an order's way. What to do when something is wrong: docs/runbook.md."
    return json.dumps(dashboard("orders", "Orders", about, ROWS), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
