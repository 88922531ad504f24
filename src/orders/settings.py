"""Every setting, in one table: name, type and limits, default, help.

The command line's options, the `ORDERS_…` variables and `--help` are made from it. Order of precedence:
option, environment, the system that runs (for commands that join one), default.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from orders.errors import UsageError

PREFIX = "ORDERS_"

Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Bytes = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


def about(text: str) -> Meta:
    """The help of a setting."""
    return Meta(description=text)


class Settings(Struct, frozen=True, kw_only=True):
    """Effective settings of a process. Sizes are in bytes, times in seconds."""

    http_host: Annotated[str, about("address the HTTP server listens on")] = "127.0.0.1"
    http_port: Annotated[Port, about("port the HTTP server listens on; 0: any free one")] = 8080
    http_workers: Annotated[Count, about("number of serve processes")] = 1
    ingest_processes: Annotated[Count, about("number of ingest processes")] = 1
    data_dir: Annotated[str, about("directory of the embedded services' data and of the service's own state")] = (
        ".orders"
    )
    kafka_bootstrap: Annotated[str, about("host:port of Kafka brokers; unset: an embedded Kafka is started")] = ""
    kafka_topic: Annotated[str, about("topic that holds the orders")] = "orders"
    kafka_group: Annotated[str, about("consumer group of the ingest processes")] = "orders"
    kafka_protocol: Annotated[Literal["classic", "consumer"], about("group protocol; `consumer` is KIP-848")] = (
        "classic"
    )
    kafka_session_timeout: Annotated[Seconds, about("seconds until a dead member's partitions are given away")] = 6.0
    kafka_partitions: Annotated[Count, about("partitions of the topic when the embedded Kafka creates it")] = 4
    kafka_queue_bytes: Annotated[Bytes, about("bytes that a consumer fetches ahead: a bound of its memory")] = (
        16 * 2**20
    )
    postgres_dsn: Annotated[str, about("libpq connection string or URL; unset: an embedded PostgreSQL is started")] = ""
    postgres_connections: Annotated[Count, about("most PostgreSQL connections of one serve process")] = 4
    memory_path: Annotated[str, about("file of the shared memory; unset: made anew by `orders run`")] = ""
    memory_bytes: Annotated[Bytes, about("budget of the shared memory")] = 256 * 2**20
    batch_records: Annotated[Count, about("most records in one transaction")] = 2000
    batch_bytes: Annotated[Bytes, about("most bytes of records in one transaction")] = 8 * 2**20
    batch_age: Annotated[Seconds, about("longest time a record waits for its transaction on a busy stream")] = 0.25
    post_deadline: Annotated[Seconds, about("seconds a POST waits for its outcome before it answers 202")] = 10.0
    default_view: Annotated[
        Literal["standard", "original"],
        about("shape of a GET without ?view=; `original` also lets POST answer 200, as the original did"),
    ] = "standard"
    ready_lag: Annotated[Count, about("lag in messages up to which /readyz says ready")] = 10_000
    log_level: Annotated[Literal["debug", "info", "warning", "error"], about("least level that is logged")] = "info"
    log_format: Annotated[Literal["console", "json"], about("how log lines look")] = "console"

    @property
    def kafka(self) -> dict[str, str]:
        """Properties of librdkafka that lead to the brokers, for every client."""
        return {"bootstrap.servers": self.kafka_bootstrap}

    @property
    def data(self) -> Path:
        """The data directory as an absolute path."""
        return Path(self.data_dir).absolute()


_ADDRESSES = ("data_dir", "kafka_bootstrap", "kafka_topic", "postgres_dsn")
_LOGS = ("log_level", "log_format")
_SERVE = (
    *("http_host", "http_port", "postgres_connections", "memory_path"),
    *("post_deadline", "default_view", "ready_lag"),
)
_INGEST = (
    *("kafka_group", "kafka_protocol", "kafka_session_timeout", "kafka_queue_bytes", "memory_path"),
    *("batch_records", "batch_bytes", "batch_age"),
)
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "run": tuple(name for name in Settings.__struct_fields__ if name != "memory_path"),
    "serve": (*_ADDRESSES, *_SERVE, *_LOGS),
    "ingest": (*_ADDRESSES, *_INGEST, *_LOGS),
    "keep": (*_ADDRESSES, "memory_path", "memory_bytes", *_LOGS),
    "send": ("data_dir", "kafka_bootstrap", "kafka_topic"),
    "get": ("data_dir", "http_host", "http_port"),
    "status": ("data_dir",),
    "dead-letters list": ("data_dir", "postgres_dsn"),
}
"""Which settings are options of which command; the variables are read by all."""


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def option(name: str) -> str:
    """The command line's option of a setting."""
    return "--" + name.replace("_", "-")


def load(
    environment: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
    running: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from options, environment, and those of a system that runs.

    An empty variable counts as unset. Raises `UsageError` that names where the value came from and what it may be.
    """
    names = Settings.__struct_fields__
    values: dict[str, Any] = {n: environment[variable(n)] for n in names if environment.get(variable(n))}
    given = {n: v for n, v in (options or {}).items() if v is not None}
    try:
        return msgspec.convert({**(running or {}), **values, **given}, Settings, strict=False)
    except msgspec.ValidationError as error:
        why, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`")
        origin = option(name) if name in given else variable(name)
        raise UsageError(f"{origin}: {why[0].lower()}{why[1:]}; see `orders run --help`") from None


def environment(settings: Settings) -> dict[str, str]:
    """The variables that give another process these settings."""
    return {variable(n): str(getattr(settings, n)) for n in Settings.__struct_fields__ if getattr(settings, n) != ""}


_URL = ("postgresql://", "postgres://")
_USERINFO = re.compile(r"(://[^:@/?]*):.*@", re.DOTALL)
_PARAMETER = re.compile(r"(?<=[?&])\w*password=[^&]*&?", re.IGNORECASE)
_KEYWORD = re.compile(r"\b\w*password\s*=\s*(?:'(?:[^'\\]|\\.)*'?|(?:[^\s\\]|\\.)*)\s*", re.DOTALL | re.IGNORECASE)


def without_password(dsn: str) -> str:
    """A libpq connection string or URL as it may be shown: without any password. It may hide more, never less."""
    if dsn.startswith(_URL):
        return _PARAMETER.sub("", _USERINFO.sub(r"\1@", dsn)).rstrip("?&")
    return _KEYWORD.sub("", dsn).strip()
