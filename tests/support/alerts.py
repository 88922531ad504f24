"""The alert rules, and for each alert series for which it fires and series for which it does not.

Series are written as promtool reads them, with a value every 15 seconds: `0+15x40` is 0, 15, 30 and so on, 41 values,
and `_x20` is nothing, 20 times.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

RULES = Path(__file__).parents[2] / "deploy/prometheus/alerts.yml"
EVERY = "15s"
A, B = 'job="orders",instance="a:8080"', 'job="orders",instance="b:8080"'
LABELS_A = {"job": "orders", "instance": "a:8080"}
WELL = "1x80"
HTTP = "http_server_request_duration_seconds_count"


def rules() -> list[dict[str, Any]]:
    """The rules of all groups, in their order."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


class Firing(NamedTuple):
    """An alert that fires: labels besides `alertname` and `severity`, and the texts with values in them."""

    labels: Mapping[str, str]
    texts: Mapping[str, str]


class Case(NamedTuple):
    """What is scraped, and what fires of one alert at a time; `says` is the case in words."""

    alert: str
    says: str
    series: Mapping[str, str]
    at: str
    firing: Sequence[Firing] = ()


def http(status: int, machine: str = A, route: str = "/orders/{order_uid}") -> str:
    labels = f'http_request_method="GET",http_route="{route}",http_response_status_code="{status}"'
    return f'{HTTP}{{{machine},{labels},url_scheme="http"}}'


def lag(values: str, position: str, machine: str = A) -> dict[str, str]:
    """Seconds of lag and the position of one partition, as one machine tells them."""
    labels = f'{{{machine},partition="3"}}'
    return {f"orders_lag_seconds{labels}": values, f"orders_position{labels}": position}


def ingests(running: str, paused: str, stopped: str) -> dict[str, str]:
    states = {"running": running, "paused": paused, "stopped": stopped}
    return {f'orders_ingests{{{A},state="{state}"}}': values for state, values in states.items()}


def ready(**parts: str) -> dict[str, str]:
    return {f'orders_ready{{{A},part="{part}"}}': values for part, values in parts.items()}


def ready_for(**purposes: str) -> dict[str, str]:
    return {f'orders_ready_for{{{A},purpose="{purpose}"}}': values for purpose, values in purposes.items()}


def dead_letters(values: str, reason: str = "schema", machine: str = A) -> dict[str, str]:
    return {f'orders_dead_letters_total{{{machine},reason="{reason}"}}': values}


def stopped(values: str, machine: str = A) -> dict[str, str]:
    return {f'orders_partition_stopped{{{machine},partition="3",reason="dead_letters"}}': values}


def records(created: str, refused: str) -> dict[str, str]:
    outcomes = {"created": created, "refused": refused}
    return {f'orders_records_total{{{A},outcome="{outcome}"}}': values for outcome, values in outcomes.items()}


def lookups(hit: str, miss: str) -> dict[str, str]:
    results = {"hit": hit, "miss": miss}
    return {f'orders_memory_lookups_total{{{A},result="{result}"}}': values for result, values in results.items()}


def restarts(kind: str, values: str) -> dict[str, str]:
    return {f'orders_process_restarts_total{{{A},kind="{kind}"}}': values}


def index(values: str, machine: str = A) -> dict[str, str]:
    return {f'orders_index_valid{{{machine},index="orders_by_x"}}': values}


def searches(within: str, count: str, by: str = "phone", machine: str = A) -> dict[str, str]:
    name, labels = "orders_search_duration_seconds", f'{machine},by="{by}"'
    return {f'{name}_bucket{{{labels},le="1.0"}}': within, f"{name}_count{{{labels}}}": count}


def busy(values: str, limit: str = "searches", machine: str = A) -> dict[str, str]:
    return {f'orders_http_busy_total{{{machine},limit="{limit}"}}': values}


PARTITION = {"job": "orders", "partition": "3"}

CASES = [
    Case(
        "OrdersDown",
        "one of two machines has not answered for a minute",
        {f"up{{{A}}}": "1x20 0x20", f"up{{{B}}}": WELL},
        "7m",
        [Firing(LABELS_A, {"summary": "a:8080 does not answer"})],
    ),
    Case(
        "OrdersDown",
        "no machine is configured",
        {'up{job="prometheus"}': WELL},
        "2m",
        [Firing({"job": "orders"}, {"summary": 'No machine is scraped as job "orders"'})],
    ),
    Case(
        "OrdersDown",
        "a restart of half a minute, and something else that is down",
        {f"up{{{A}}}": "1x20 0x1 1x20", 'up{job="other"}': "0x80"},
        "5m45s",
    ),
    Case(
        "OrdersPostgresUnavailable",
        "for more than two minutes",
        ready(postgres="1x8 0x20", kafka=WELL),
        "5m",
        [
            Firing(
                LABELS_A | {"part": "postgres"},
                {"summary": "a:8080 cannot use PostgreSQL"},
            )
        ],
    ),
    Case(
        "OrdersPostgresUnavailable",
        "for a minute; and Kafka for long",
        ready(postgres="1x8 0x4 1x40", kafka="0x60"),
        "3m",
    ),
    Case(
        "OrdersReadingUnavailable",
        "for more than a minute, PostgreSQL being unavailable and memory empty",
        ready(process=WELL, postgres="0x60") | ready_for(reading="1x8 0x20", writing="0x60"),
        "4m",
        [Firing(LABELS_A | {"purpose": "reading"}, {"summary": "a:8080 cannot answer GETs"})],
    ),
    Case(
        "OrdersReadingUnavailable",
        "writing alone is not ready",
        ready(process=WELL, postgres="0x60") | ready_for(reading=WELL, writing="0x60"),
        "5m",
    ),
    Case(
        "OrdersReadingUnavailable",
        "for half a minute; and a machine that drains for long",
        ready(process="1x16 0x40") | ready_for(reading="1x8 0x1 1x6 0x40", writing="0x60"),
        "8m",
    ),
    Case(
        "OrdersKafkaUnavailable",
        "for more than two minutes",
        ready(postgres=WELL, kafka="1x8 0x20"),
        "5m",
        [Firing(LABELS_A | {"part": "kafka"}, {"summary": "a:8080 cannot use Kafka"})],
    ),
    Case("OrdersKafkaUnavailable", "PostgreSQL is unavailable, not Kafka", ready(postgres="0x60", kafka=WELL), "5m"),
    Case(
        "OrdersConsumptionStopped",
        "one of two ingests met a misconfiguration",
        ingests("2x8 1x40", "0x60", "0x8 1x40"),
        "5m",
        [
            Firing(
                LABELS_A | {"state": "stopped"},
                {
                    "summary": "Consumption has stopped on a:8080",
                    "description": "1 of its ingests misconfigured; /readyz says what. "
                    "Nothing is lost as long as Kafka keeps the records.",
                },
            )
        ],
    ),
    Case(
        "OrdersConsumptionStopped",
        "no ingest is there",
        ingests("1x8 0x40", "0x60", "0x60"),
        "5m",
        [
            Firing(
                LABELS_A,
                {
                    "summary": "Consumption has stopped on a:8080",
                    "description": "No ingest of it is running. Nothing is lost as long as Kafka keeps the records.",
                },
            )
        ],
    ),
    Case(
        "OrdersConsumptionStopped",
        "PostgreSQL is unavailable: the ingest is paused",
        ingests("1x8 0x40", "0x8 1x40", "0x60"),
        "5m",
    ),
    Case("OrdersConsumptionStopped", "an ingest is started again", ingests("1x8 0x2 1x40", "0x60", "0x60"), "2m45s"),
    Case(
        "OrdersPartitionStopped",
        "too many of its records became dead letters; both machines had it in turn",
        stopped("_x8 1x5") | stopped("_x14 1x40", B),
        "6m",
        [
            Firing(
                {"job": "orders", "partition": "3", "reason": "dead_letters"},
                {"summary": "Partition 3 is stopped: dead_letters"},
            )
        ],
    ),
    Case("OrdersPartitionStopped", "somebody resumed it", stopped("1x8 _x40"), "8m"),
    Case(
        "OrdersPartitionStuck",
        "a record waits and the position stays; the other machine tells the same, and fails to now and then",
        lag("0x20 0+15x60", "700x80") | lag("0x20 0+15x12 _x1 210+15x40", "700x80", B),
        "11m",
        [
            Firing(
                PARTITION,
                {
                    "summary": "Partition 3 is not consumed",
                    "description": "Its first record has waited for 3m 45s, "
                    "and its position has not moved for 5 minutes.",
                },
            )
        ],
    ),
    Case("OrdersPartitionStuck", "nothing comes, nothing waits", lag("0x80", "700x80"), "15m"),
    Case("OrdersPartitionStuck", "it is slow, but it moves", lag("0+15x80", "700+1x80"), "15m"),
    Case(
        "OrdersPartitionStuck",
        "records wait behind a long outage of PostgreSQL, and are consumed now",
        lag("0x8 _x60 900-40x20", "700x8 _x60 700+900x20"),
        "19m",
    ),
    Case(
        "OrdersLagGrowing",
        "it moves, and the lag grows by a third of a second each second",
        lag("0x20 0+5x80", "700+10x100"),
        "20m",
        [
            Firing(
                PARTITION,
                {
                    "summary": "Partition 3 is consumed more slowly than it is filled",
                    "description": "Its first record that waits is 4m 15s old, and the lag does not shrink. "
                    "New orders are readable that much later.",
                },
            )
        ],
    ),
    Case(
        "OrdersLagGrowing",
        "it moves, and the lag stays as it is",
        lag("300x80", "700+10x80"),
        "15m",
        [
            Firing(
                PARTITION,
                {
                    "summary": "Partition 3 is consumed more slowly than it is filled",
                    "description": "Its first record that waits is 5m 0s old, and the lag does not shrink. "
                    "New orders are readable that much later.",
                },
            )
        ],
    ),
    Case("OrdersLagGrowing", "a backlog is worked off", lag("3600-15x80", "700+1000x80"), "15m"),
    Case("OrdersLagGrowing", "short waits, at their most 45 s", lag("0 45 20 10 45 0 30 45 " * 10, "7+9x80"), "15m"),
    Case("OrdersLagGrowing", "nothing moves: another alert's", lag("0+15x80", "700x80"), "15m"),
    Case(
        "OrdersDeadLetters",
        "one on each of two machines",
        dead_letters("0x20 1x60") | dead_letters("0x21 1x60", machine=B) | dead_letters("0x80", "date"),
        "10m",
        [
            Firing(
                {"job": "orders", "reason": "schema"},
                {
                    "summary": "New dead letters: schema",
                    "description": "About 2 records within 15 minutes were refused and kept in table dead_letters. "
                    "The other records are not affected.",
                },
            )
        ],
    ),
    Case("OrdersDeadLetters", "the last one came half an hour ago", dead_letters("7x8 8x130"), "32m"),
    Case("OrdersDeadLetters", "the service was started again and counts from 0", dead_letters("7x80 0x80"), "22m"),
    Case(
        "OrdersDeadLettersBurst",
        "a quarter of the records",
        dead_letters("0x8 0+10x40") | records("0x8 0+30x40", "0x8 0+10x40"),
        "10m",
        [Firing({"job": "orders"}, {"summary": "25% of the records become dead letters"})],
    ),
    Case(
        "OrdersDeadLettersBurst",
        "one in a hundred",
        dead_letters("0+10x60") | records("0+990x60", "0+10x60"),
        "10m",
    ),
    Case("OrdersDeadLettersBurst", "all, but few", dead_letters("0x8 0+1x5 5x60") | records("0x80", "0x8 0+1x5"), "4m"),
    Case(
        "OrdersRestoreStuck",
        "no order comes any more",
        ready(restore="0x80", postgres=WELL) | {f"orders_restore_done_orders{{{A}}}": "0+500x8 4000x70"},
        "15m",
        [
            Firing(
                LABELS_A | {"part": "restore"},
                {"summary": "The restore of memory does not progress at a:8080"},
            )
        ],
    ),
    Case(
        "OrdersRestoreStuck",
        "a long one continues",
        ready(restore="0x80", postgres=WELL) | {f"orders_restore_done_orders{{{A}}}": "0+500x80"},
        "15m",
    ),
    Case(
        "OrdersRestoreStuck",
        "PostgreSQL is unavailable",
        ready(restore="0x80", postgres="0x80") | {f"orders_restore_done_orders{{{A}}}": "0x80"},
        "15m",
    ),
    Case(
        "OrdersMemoryMisses",
        "three of four orders that were found came from PostgreSQL",
        lookups("0+100x200", "0+300x200") | {http(200): "0+400x200"},
        "35m",
        [Firing(LABELS_A, {"summary": "Memory answers only 25% of the GETs at a:8080"})],
    ),
    Case(
        "OrdersMemoryMisses",
        "what is missed is not in PostgreSQL either",
        lookups("0+100x200", "0+300x200") | {http(200): "0+100x200", http(404): "0+300x200"},
        "35m",
    ),
    Case("OrdersMemoryMisses", "hardly anybody asks", lookups("0x200", "0+1x200") | {http(200): "0+1x200"}, "35m"),
    Case(
        "OrdersIndexNotValid",
        "it is not there for more than an hour; both machines say so",
        index("0x300") | index("0x300", B),
        "61m",
        [
            Firing(
                {"job": "orders", "index": "orders_by_x"},
                {"summary": "The index orders_by_x has not been valid for an hour"},
            )
        ],
    ),
    Case("OrdersIndexNotValid", "it was built within half an hour", index("0x120 1x180"), "65m"),
    Case(
        "OrdersSearchSlow",
        "a quarter of those by phone, on two machines together",
        searches("0+2x80", "0+4x80")
        | searches("0+4x80", "0+4x80", machine=B)
        | searches("0+4x80", "0+4x80", "customer_id"),
        "16m",
        [
            Firing(
                {"job": "orders", "by": "phone"},
                {
                    "summary": "Searches by phone are slow",
                    "description": "25% of their pages take longer than a second. "
                    "GETs of an order, POSTs and consumption do not wait for them.",
                },
            )
        ],
    ),
    Case(
        "OrdersSearchSlow",
        "two machines turn searches away",
        busy("0+1x80") | busy("0+1x80", machine=B) | busy("0+9x80", "posts"),
        "16m",
        [
            Firing(
                {"job": "orders", "limit": "searches"},
                {
                    "summary": "Searches are turned away",
                    "description": "About 80 lists, searches and lookups within 10 minutes returned 503, "
                    "as too many ran at once. GETs of an order, POSTs and consumption do not wait for them.",
                },
            )
        ],
    ),
    Case(
        "OrdersSearchSlow",
        "one in a hundred is; of the others there are hardly any; few are turned away",
        searches("0+99x80", "0+100x80") | searches("0x80", "0x8 0+1x10 10x80", "q") | busy("0x8 5x80"),
        "16m",
    ),
    Case(
        "OrdersHttpErrors",
        "a tenth",
        {http(200): "0+90x60", http(503): "0+10x60", http(503, route="/readyz"): "0+100x60"},
        "12m",
        [Firing(LABELS_A, {"summary": "10% of the requests for orders fail at a:8080"})],
    ),
    Case("OrdersHttpErrors", "one in a hundred", {http(200): "0+99x60", http(503): "0+1x60"}, "12m"),
    Case("OrdersHttpErrors", "all, but hardly anybody asks", {http(503): "0x8 1x20 3x60"}, "8m"),
    Case(
        "OrdersHttpErrors",
        "it is not ready, and says so to who asks",
        {http(200): "0+90x60", http(503, route="/readyz"): "0+90x60"},
        "12m",
    ),
    Case(
        "OrdersProcessesRestarting",
        "an ingest every 15 seconds",
        restarts("ingest", "0x8 0+1x60") | restarts("serve", "0x80"),
        "14m",
        [
            Firing(
                LABELS_A | {"kind": "ingest"},
                {
                    "summary": "ingest is started again and again on a:8080",
                    "description": "It ended about 40 times within 10 minutes.",
                },
            )
        ],
    ),
    Case(
        "OrdersProcessesRestarting",
        "each once",
        restarts("ingest", "0x8 1x60") | restarts("serve", "0x9 1x60"),
        "8m",
    ),
]


def promtool_file() -> str:
    """All cases, as `promtool test rules` reads them."""
    tests = list(map(as_test, CASES))
    return yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": EVERY, "tests": tests})


def as_test(case: Case) -> dict[str, Any]:
    (rule,) = [rule for rule in rules() if rule["alert"] == case.alert]
    return {
        "name": f"{case.alert}: {case.says}",
        "interval": EVERY,
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [
            {"alertname": case.alert, "eval_time": case.at, "exp_alerts": list(expected(rule, case.firing))}
        ],
    }


def expected(rule: Mapping[str, Any], firing: Sequence[Firing]) -> Iterator[dict[str, Any]]:
    """Alerts with all labels and annotations; texts without values are those of the rule."""
    for each in firing:
        annotations = rule["annotations"] | each.texts
        unsaid = [name for name, text in annotations.items() if "{{" in text]
        assert not unsaid, f"{rule['alert']}: a case has to say {unsaid}"
        yield {"exp_labels": rule["labels"] | each.labels, "exp_annotations": annotations}
