"""Properties of librdkafka, the Kafka client: which there are, which are refused and why, which are secrets."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from orders.errors import UsageError

PREFIX = "ORDERS_KAFKA_"

_SECRET = re.compile(r"password|passphrase|secret|key\.pem$|oauthbearer\.config$")
_PATH = re.compile(r"\.(location|keytab|file)$")
PROBE = "probe"
"""Stands for a search of the usual places, where a path to certificates may stand."""


class Property(NamedTuple):
    """A property; `kind` is C for consumers, P for producers, * for all clients; `extent` what it may be, if known."""

    name: str
    kind: str
    alias_of: str
    extent: str = ""


@cache
def known() -> Mapping[str, Property]:
    """All properties of librdkafka, by name."""
    lines = files("orders.settings").joinpath("kafka-properties.txt").read_text("ascii").splitlines()
    rows = (Property(*line.split(maxsplit=3)) for line in lines if not line.startswith("#"))
    return {row.name: row._replace(alias_of=row.alias_of.strip("-")) for row in rows}


def variable(name: str) -> str:
    """The environment variable of a property."""
    return PREFIX + re.sub(r"\W", "_", name.upper())


def shown(name: str) -> str:
    """A property as the settings file has it."""
    return f'kafka_properties."{name}"'


def is_secret(name: str) -> bool:
    return bool(_SECRET.search(name))


def is_path(name: str) -> bool:
    return bool(_PATH.search(name))


def allowed_values(name: str) -> str:
    """What librdkafka takes for a property, in plain words; "" where it does not say."""
    extent = known()[name].extent
    low, dots, high = extent.partition(" .. ")
    return f"from {low} to {high}" if dots else " or ".join(extent.rsplit(", ", 1))


def for_client(config: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """What of a configuration concerns consumers (C) or producers (P): the client warns of anything else."""
    other = {name for name, found in known().items() if found.kind not in {kind, "*"}}
    return {name: value for name, value in config.items() if name not in other}


# ---- the refused ones ----


class Refusal(NamedTuple):
    """Properties that are not for a user to set, why, and what there is instead."""

    names: tuple[str, ...]
    why: str
    instead: str = "leave it out"


REFUSALS = (
    Refusal(
        ("bootstrap.servers", "metadata.broker.list"),
        "every part of the service needs the brokers' address",
        "set kafka_bootstrap",
    ),
    Refusal(
        (
            *("enable.auto.commit", "auto.commit.enable", "auto.commit.interval.ms", "enable.auto.offset.store"),
            *("offset.store.method", "offset.store.path", "offset.store.sync.interval.ms"),
        ),
        "positions are committed in PostgreSQL, together with the orders",
    ),
    Refusal(
        ("auto.offset.reset",),
        "any value but `error` silently skips records where the stored position is no longer in the topic",
    ),
    Refusal(
        ("isolation.level",),
        "records of transactions that were aborted would be stored",
    ),
    Refusal(("check.crcs",), "it is always on, or what a disk made of a record would be taken for it"),
    Refusal(
        (
            *("acks", "request.required.acks", "enable.idempotence", "enable.gapless.guarantee", "queuing.strategy"),
            *("retries", "message.send.max.retries", "max.in.flight", "max.in.flight.requests.per.connection"),
        ),
        "what Kafka acknowledged must be in all in-sync replicas, once and in order",
    ),
    Refusal(
        ("transactional.id", "transaction.timeout.ms"),
        "the service's only transaction is PostgreSQL's",
    ),
    Refusal(
        ("message.timeout.ms", "delivery.timeout.ms"),
        "a record of a POST must not wait longer than the POST",
        "set post_deadline",
    ),
    Refusal(
        ("delivery.report.only.error", "enabled_events"),
        "a POST waits for the client's report of where its record is",
    ),
    Refusal(
        ("message.max.bytes",),
        "it is what Kafka takes by default, so that every order within the limits can be sent",
    ),
    Refusal(
        ("partitioner",),
        "one uid must go to one partition, no matter who sends it: all use the rule of Java's clients",
    ),
    Refusal(
        ("api.version.request", "api.version.fallback.ms", "broker.version.fallback"),
        "without the brokers' own answer the client leaves out headers and idempotence",
    ),
    Refusal(("group.id",), "it has a setting of its own", "set kafka_group"),
    Refusal(
        ("group.protocol", "group.protocol.type", "group.remote.assignor", "partition.assignment.strategy"),
        "the group's protocol and the way of assignment belong together",
        "set kafka_protocol",
    ),
    Refusal(
        ("group.instance.id",),
        "it is made of host, data directory and number, so that a killed ingest comes back to its partitions",
    ),
    Refusal(("session.timeout.ms",), "it has a setting of its own", "set kafka_session_timeout"),
    Refusal(("queued.max.messages.kbytes",), "it bounds the memory of ingest", "set kafka_queue_bytes"),
    Refusal(
        ("allow.auto.create.topics",),
        "a topic made by accident has the wrong partitions and hides a wrong name",
        "make the topic with `orders topics create`",
    ),
    Refusal(("enable.partition.eof",), "ingest would take each end of a partition for an error"),
    Refusal(("log.queue",), "the client's log goes into the service's log"),
    Refusal(("internal.termination.signal",), "signals stop the service"),
    Refusal(("plugin.library.paths", "interceptors"), "foreign code in the client could change or drop records"),
    Refusal(
        ("ssl_key", "ssl_certificate", "ssl_ca"),
        "only a program can give it",
        "give a file (ssl.key.location, ssl.certificate.location, ssl.ca.location) or PEM text (ssl.key.pem, …)",
    ),
    Refusal(
        (
            *("background_event_cb", "closesocket_cb", "connect_cb", "consume_cb", "dr_cb", "dr_msg_cb", "error_cb"),
            *("log_cb", "oauthbearer_token_refresh_cb", "offset_commit_cb", "open_cb", "partitioner_cb"),
            *("rebalance_cb", "resolve_cb", "socket_cb", "ssl.certificate.verify_cb", "stats_cb", "throttle_cb"),
            *("default_topic_conf", "msg_order_cmp", "opaque", "ssl_engine_callback_data"),
        ),
        "only a program can give it",
    ),
)


@cache
def _refusals() -> Mapping[str, Refusal]:
    return {name: refusal for refusal in REFUSALS for name in refusal.names}


def allowed(name: str, label: str) -> str:
    """A property's name, an alias replaced by what it stands for. Raises `UsageError` for one that is refused."""
    if refusal := _refusals().get(name):
        raise UsageError(f"{label} is refused: {refusal.why}; {refusal.instead}")
    return known()[name].alias_of or name


def givable() -> Iterator[str]:
    """Names of the properties that are not refused."""
    return (name for name in known() if name not in _refusals())
