"""Every setting: name, type and limits, default, help. A new setting is one row here.

The command line's options, the `ORDERS_…` variables, `--help` and docs/settings.md are made from it.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct
from msgspec.structs import replace

from orders.order import MAX_DOCUMENT_BYTES, MAX_NESTING
from orders.settings import properties
from orders.settings.secrets import HIDDEN, without_password

PREFIX = "ORDERS_"

Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Nesting = Annotated[int, Meta(ge=3, le=256)]
Head = Annotated[int, Meta(ge=1024, le=2**20)]
Body = Annotated[int, Meta(ge=1, le=MAX_DOCUMENT_BYTES)]
Bytes = Annotated[int, Meta(ge=1, le=2**40)]
Prefetch = Annotated[int, Meta(ge=1024, le=2**31 - 1024)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Drain = Annotated[float, Meta(ge=0, le=3600)]
Grace = Annotated[float, Meta(ge=0, le=86_400)]
Session = Annotated[float, Meta(ge=1, le=3600)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Window = Annotated[int, Meta(ge=1, le=100_000)]
NonEmptyText = Annotated[str, Meta(min_length=1)]


def about(text: str) -> Meta:
    """The help of a setting."""
    return Meta(description=text)


class Settings(Struct, frozen=True, kw_only=True):
    """Effective settings of a process. Sizes are in bytes, times in seconds."""

    http_host: Annotated[NonEmptyText, about("address the HTTP server listens on")] = "127.0.0.1"
    http_port: Annotated[Port, about("port the HTTP server listens on; 0: any free one")] = 8080
    http_hosts: Annotated[
        str,
        about("names, with commas between, that HTTP answers to beside addresses and localhost; others: 421; `*`: any"),
    ] = ""
    http_head_bytes: Annotated[Head, about("most bytes of a request's line and fields; more: 431")] = 32_768
    http_body_bytes: Annotated[
        Body,
        about("most bytes of a request's body, decompressed too; more: 413; Kafka's records have room for the default"),
    ] = MAX_DOCUMENT_BYTES
    http_head_deadline: Annotated[
        Seconds, about("seconds for a new connection to begin, and for a request's head to arrive; then 408")
    ] = 10.0
    http_body_deadline: Annotated[Seconds, about("seconds for a body to arrive once its head is there; then 408")] = (
        60.0
    )
    http_answer_deadline: Annotated[
        Seconds, about("seconds for a client to take what waits to be sent to it; then the connection is cut")
    ] = 60.0
    http_keep_alive: Annotated[Seconds, about("seconds after which an idle connection is closed")] = 75.0
    http_connections: Annotated[
        Count, about("most connections of one serve process; the next get 503 and are closed")
    ] = 10_000
    http_waiting_posts: Annotated[
        Count, about("most POSTs of one serve process that wait for their outcome; more: 503")
    ] = 1000
    http_waiting_misses: Annotated[
        Count, about("most GETs of one serve process that wait for PostgreSQL; more: 503")
    ] = 1000
    http_waiting_searches: Annotated[
        Count, about("most lists, searches and lookups of one serve process at the same time; more: 503")
    ] = 16
    http_workers: Annotated[Count, about("number of serve processes")] = 1
    ingest_processes: Annotated[Count, about("number of ingest processes")] = 1
    data_dir: Annotated[
        NonEmptyText, about("directory of the embedded services' data and of the service's own state")
    ] = ".orders"
    kafka_bootstrap: Annotated[
        str, about("host:port of Kafka brokers; unset: `orders run` starts an embedded Kafka")
    ] = ""
    kafka_topic: Annotated[NonEmptyText, about("topic that holds the orders")] = "orders"
    dead_letters_topic: Annotated[str, about("topic that gets a copy of each dead letter; unset: none")] = ""
    kafka_group: Annotated[NonEmptyText, about("consumer group of the ingest processes")] = "orders"
    kafka_protocol: Annotated[Literal["classic", "consumer"], about("group protocol; `consumer` is KIP-848")] = (
        "classic"
    )
    kafka_session_timeout: Annotated[Session, about("seconds until a dead member's partitions are given away")] = 6.0
    kafka_partitions: Annotated[Count, about("partitions of a topic that is made")] = 4
    kafka_growth_seconds: Annotated[
        Grace,
        about("seconds for which partitions that the topic gains wait for the older ones, from when they are found"),
    ] = 600.0
    kafka_queue_bytes: Annotated[Prefetch, about("bytes that a consumer fetches ahead: a bound of its memory")] = (
        16 * 2**20
    )
    kafka_properties: Annotated[dict[str, str], about("properties of librdkafka for every Kafka client")] = {}
    postgres_dsn: Annotated[
        str, about("libpq connection string or URL; unset: `orders run` starts an embedded PostgreSQL")
    ] = ""
    postgres_dsn_serve: Annotated[
        str, about("libpq connection string or URL of a role that only reads, for serve; unset: ORDERS_POSTGRES_DSN")
    ] = ""
    postgres_connections: Annotated[Count, about("most PostgreSQL connections of one serve process")] = 4
    search_connections: Annotated[
        Count, about("most PostgreSQL connections of one serve process for lists, searches and lookups")
    ] = 2
    memory_path: Annotated[str, about("file of the shared memory; unset: `orders run` creates one at each start")] = ""
    memory_bytes: Annotated[Bytes, about("budget of the shared memory")] = 256 * 2**20
    batch_records: Annotated[Count, about("most records in one transaction")] = 4000
    batch_bytes: Annotated[Bytes, about("most bytes of records in one transaction")] = 8 * 2**20
    batch_age: Annotated[Seconds, about("longest time a record waits for its transaction on a busy stream")] = 0.25
    order_nesting: Annotated[
        Nesting, about("deepest nesting of objects and arrays in an order, itself being 1; the same for POST and Kafka")
    ] = MAX_NESTING
    dead_letter_percent: Annotated[
        Percent, about("percent of a partition's last records that become dead letters at which it stops; 0: never")
    ] = 25
    dead_letter_window: Annotated[Window, about("how many last records of a partition that share is of")] = 1000
    post_deadline: Annotated[Seconds, about("seconds a POST waits for its outcome before it answers 202")] = 10.0
    default_view: Annotated[
        Literal["standard", "original"],
        about("shape of a GET without ?view=; `original` also lets POST answer 200, as the original Go service did"),
    ] = "standard"
    ready_lag: Annotated[Count, about("lag in messages up to which /readyz says ready")] = 10_000
    drain_seconds: Annotated[
        Drain, about("seconds that HTTP continues, with /readyz 503, after a signal to stop; 0: it stops at once")
    ] = 0.0
    log_level: Annotated[Literal["debug", "info", "warning", "error"], about("least level that is logged")] = "info"
    log_format: Annotated[Literal["console", "json"], about("how log lines look")] = "console"

    @property
    def kafka(self) -> dict[str, str]:
        """Properties of librdkafka that lead to the brokers, for every client."""
        return {"bootstrap.servers": self.kafka_bootstrap, **self.kafka_properties}

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names that HTTP answers to, the one that it listens on among them."""
        return (self.http_host, *(name for each in self.http_hosts.split(",") if (name := each.strip())))

    @property
    def data(self) -> Path:
        """The data directory as an absolute path."""
        return Path(self.data_dir).absolute()

    @property
    def serving(self) -> "Settings":
        """The settings of a serve process, which knows no connection string but its own."""
        return replace(self, postgres_dsn=self.postgres_dsn_serve or self.postgres_dsn, postgres_dsn_serve="")

    @property
    def writing(self) -> "Settings":
        """The settings of the other processes, in the same way."""
        return replace(self, postgres_dsn_serve="")

    def __repr__(self) -> str:
        """The settings without their secrets: a traceback or a log may show it."""
        return f"Settings({', '.join(f'{name}={masked(name, getattr(self, name))!r}' for name in NAMES)})"


PROPERTIES = "kafka_properties"
"""The one setting that is a table: each property has its own variable."""
SECRETS = frozenset({"postgres_dsn", "postgres_dsn_serve"})
"""Settings that may also be read from a file of their own."""
PATHS = frozenset({"data_dir", "memory_path"})
NAMES = Settings.__struct_fields__
SIMPLE = tuple(name for name in NAMES if name != PROPERTIES)
DEFAULTS: Mapping[str, Any] = dict(zip(NAMES, Settings.__struct_defaults__, strict=True))
SPECIAL: Mapping[str, str] = {
    "ORDERS_HOME": "directory of orders.toml and, unless data_dir is given, of .orders; unset: the working directory",
    "ORDERS_SETTINGS_FILE": "the settings file; unset: orders.toml in ORDERS_HOME, if it is there",
}
"""Variables that are not settings: they say where the settings are."""

_ADDRESSES = ("data_dir", "kafka_bootstrap", "kafka_topic", "postgres_dsn")
_LOGS = ("log_level", "log_format")
_SERVE = (
    *("http_host", "http_port", "http_hosts", "postgres_dsn_serve", "postgres_connections", "memory_path"),
    *("http_head_bytes", "http_body_bytes", "http_head_deadline", "http_body_deadline", "http_answer_deadline"),
    *("http_keep_alive", "http_connections", "http_waiting_posts", "http_waiting_misses", "http_waiting_searches"),
    *("search_connections", "order_nesting"),
    *("post_deadline", "default_view", "ready_lag", "drain_seconds"),
)
_INGEST = (
    *("kafka_group", "kafka_protocol", "kafka_session_timeout", "kafka_growth_seconds", "kafka_queue_bytes"),
    *(
        "memory_path",
        "batch_records",
        "batch_bytes",
        "batch_age",
        "order_nesting",
        "dead_letter_percent",
        "dead_letter_window",
    ),
)
_RUN = tuple(name for name in SIMPLE if name != "memory_path")
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "run": _RUN,
    "serve": (*_ADDRESSES, *_SERVE, *_LOGS),
    "ingest": (*_ADDRESSES, *_INGEST, *_LOGS),
    "keep": (*_ADDRESSES, "dead_letters_topic", "memory_path", "memory_bytes", *_LOGS),
    "send": ("data_dir", "kafka_bootstrap", "kafka_topic", "postgres_dsn"),
    "validate": ("order_nesting",),
    "get": ("data_dir", "http_host", "http_port"),
    "list": ("data_dir", "http_host", "http_port"),
    "find": ("data_dir", "http_host", "http_port"),
    "status": ("data_dir", "http_host", "http_port", "kafka_topic", "postgres_dsn"),
    "health": ("data_dir", "http_host", "http_port"),
    **dict.fromkeys(
        (f"dead-letters {each}" for each in ("list", "show", "edit", "discard", "export")), ("data_dir", "postgres_dsn")
    ),
    "dead-letters replay": ("data_dir", "kafka_bootstrap", "kafka_topic", "postgres_dsn"),
    "resume": ("data_dir", "kafka_bootstrap", "kafka_topic", "postgres_dsn"),
    "verify": (*_ADDRESSES, "memory_path"),
    "migrate": ("data_dir", "postgres_dsn"),
    "topics create": ("data_dir", "kafka_bootstrap", "kafka_topic"),
    "config": _RUN,
    "doctor": _RUN,
}
"""Which settings are options of which command; the variables are read by all."""
_JOINED: Mapping[str, str] = {
    "http_host": "address of the HTTP server; unset: that of the running system",
    "http_port": "port of the HTTP server; unset: that of the running system",
    "kafka_bootstrap": "host:port of Kafka brokers; unset: those of the running system",
    "dead_letters_topic": "topic that gets a copy of each dead letter; unset: that of the running system, if any",
    "postgres_dsn": "libpq connection string or URL; unset: that of the running system",
    "postgres_dsn_serve": (
        "libpq connection string or URL of a role that only reads, for serve; unset: that of the running system"
    ),
    "memory_path": "file of the shared memory; unset: that of the running system",
}
"""What the help of commands that start no service says of settings whose absence starts or chooses something."""
_BINDS = frozenset({"http_host", "http_port"})
"""Settings whose general help is right for `serve` too, which listens there."""


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def option(name: str) -> str:
    """The command line's option of a setting."""
    return "--" + name.replace("_", "-")


@cache
def kinds() -> Mapping[str, Any]:
    """The types of the settings, with their limits and help."""
    return get_type_hints(Settings, include_extras=True)


def purpose(name: str, command: str = "run") -> str:
    """The help of a setting as an option of a command; only `run` starts services."""
    if command != "run" and name in _JOINED and not (command == "serve" and name in _BINDS):
        return _JOINED[name]
    return str(next(each.description for each in get_args(kinds()[name])[1:] if each.description))


def allowed(name: str) -> str:
    """What a setting may be, in plain words."""
    kind, *metas = get_args(kinds()[name])
    if get_origin(kind) is Literal:
        *first, last = get_args(kind)
        return f"{', '.join(first)} or {last}"
    if kind is str:
        noun = "a path" if name in PATHS else "text"
        return f"{noun} that is not empty" if any(each.min_length for each in metas) else noun
    limits = next(each for each in metas if each.le is not None)
    low = f"from {limits.ge}" if limits.gt is None else f"above {limits.gt}, up"
    return f"{'a whole number' if kind is int else 'a number'} {low} to {limits.le}"


def masked(name: str, value: Any) -> Any:
    """A setting as it may be shown."""
    if name in SECRETS:
        return without_password(value)
    if name == PROPERTIES:
        return {each: HIDDEN if properties.is_secret(each) else text for each, text in value.items()}
    return value
