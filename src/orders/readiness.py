"""What /livez, /readyz and /startupz answer: serve processes encode it, and commands read it."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct


class Alive(Struct, frozen=True):
    """The body of /livez."""

    alive: Annotated[bool, Meta(description="Always true: a dead process does not answer")]


class ReadinessPart(Struct, frozen=True):
    """One condition; `reason` is one sentence where it is not met, else empty."""

    ok: Annotated[bool, Meta(description="Whether the condition is met")]
    reason: Annotated[str, Meta(description="Why not and what to do, in one sentence; empty where it is met")] = ""


class Lag(ReadinessPart, frozen=True):
    """Messages that are in the topic and not yet in PostgreSQL; None if unknown."""

    messages: Annotated[int | None, Meta(description="Messages that PostgreSQL does not have yet; null: unknown")] = (
        None
    )


class RestorePart(ReadinessPart, frozen=True):
    """Orders that memory was given back since its start, and how many there will be."""

    done: Annotated[int, Meta(description="Orders that the restore has read")] = 0
    total: Annotated[int, Meta(description="Orders that it is to read in all")] = 0


class ReadinessParts(Struct, frozen=True):
    postgres: Annotated[ReadinessPart, Meta(description="PostgreSQL answers a query")]
    kafka: Annotated[ReadinessPart, Meta(description="Kafka describes the topic")]
    assignment: Annotated[
        ReadinessPart, Meta(description="The ingests of this machine run, and one of them has a partition")
    ]
    lag: Annotated[Lag, Meta(description="At most ORDERS_READY_LAG messages are not stored yet")]
    memory: Annotated[ReadinessPart, Meta(description="Memory can be read, and was not emptied since its last restore")]
    restore: Annotated[RestorePart, Meta(description="The keeper runs, and memory has its orders back")]
    process: Annotated[ReadinessPart, Meta(description="Nobody asked this process to stop")] = ReadinessPart(ok=True)


class ReadinessReport(Struct, frozen=True):
    """The body of /readyz: `ready` for what was asked, then for each purpose."""

    ready: Annotated[bool, Meta(description="Whether it is ready for what was asked")]
    reading: Annotated[bool, Meta(description="Whether it is ready for GETs: memory or PostgreSQL is enough")]
    writing: Annotated[bool, Meta(description="Whether it is ready for POSTs: every part is ok")]
    parts: Annotated[ReadinessParts, Meta(description="Each condition, and why it is not met")]


class StartParts(Struct, frozen=True):
    """As in /readyz, of the start alone."""

    postgres: Annotated[ReadinessPart, Meta(description="PostgreSQL answers a query")]
    restore: Annotated[ReadinessPart, Meta(description="The keeper has begun to restore memory")]


class StartupReport(Struct, frozen=True):
    """The body of /startupz."""

    started: Annotated[bool, Meta(description="Whether the start is over")]
    parts: Annotated[StartParts, Meta(description="Each condition, and what it waits for")]


# ---- read ----

NOT_OK = {"ok": False}
"""A part that does not say whether it is."""
KINDS: Mapping[str, type[ReadinessPart]] = {field.name: field.type for field in msgspec.structs.fields(ReadinessParts)}


class Ready(Struct, frozen=True):
    """What a command knows of a `ReadinessReport` or a `StartupReport`: the parts that were named, by whatever
    release.
    """

    ready: bool = False
    writing: bool = False
    parts: Mapping[str, ReadinessPart] = {}

    @property
    def missing(self) -> str:
        """The reasons why it is not ready."""
        return "; ".join(f"{name}: {part.reason}" for name, part in self.parts.items() if not part.ok)

    @property
    def lag(self) -> Lag:
        """That part, without a figure where there is none."""
        found = self.parts.get("lag")
        return found if isinstance(found, Lag) else Lag(ok=False)

    @property
    def restore(self) -> RestorePart:
        """That part, with 0 of 0 orders where there is none."""
        found = self.parts.get("restore")
        return found if isinstance(found, RestorePart) else RestorePart(ok=False)


class _Body(Struct, frozen=True):
    """A `Ready` whose parts are not looked at yet."""

    ready: bool = False
    writing: bool = False
    parts: dict[str, dict[str, Any]] = {}


def read(body: bytes) -> Ready:
    """Reads what a server of any release answered. Raises `msgspec.MsgspecError` where it is something else.

    A field that is missing has its default, an unknown field is passed over, and an unknown part is kept.
    """
    found = msgspec.json.decode(body, type=_Body)
    parts = {name: msgspec.convert(NOT_OK | part, KINDS.get(name, ReadinessPart)) for name, part in found.parts.items()}
    return Ready(found.ready, found.writing, parts)
