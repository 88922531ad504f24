"""What /readyz and /startupz answer: serve processes encode it, and commands read it."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct


class Part(Struct, frozen=True):
    """One condition; `reason` is one sentence where it is not met, else empty."""

    ok: bool
    reason: str = ""


class Lag(Part, frozen=True):
    """Messages that are in the topic and not yet in PostgreSQL; None if that cannot be told."""

    messages: int | None = None


class Restore(Part, frozen=True):
    """Orders that memory was given back since its start, and how many there will be."""

    done: int = 0
    total: int = 0


class Parts(Struct, frozen=True):
    postgres: Part
    kafka: Part
    assignment: Part
    lag: Lag
    memory: Part
    restore: Restore
    process: Part = Part(ok=True)


class Report(Struct, frozen=True):
    """The body of /readyz: `ready` for what was asked, then for each purpose."""

    ready: bool
    reading: bool
    writing: bool
    parts: Parts


class StartParts(Struct, frozen=True):
    """As in /readyz, of the start alone."""

    postgres: Part
    restore: Part


class Start(Struct, frozen=True):
    """The body of /startupz."""

    started: bool
    parts: StartParts


# ---- read ----

NOT_OK = {"ok": False}
"""A part that does not say whether it is."""
KINDS: Mapping[str, type[Part]] = {field.name: field.type for field in msgspec.structs.fields(Parts)}


class Ready(Struct, frozen=True):
    """What a command knows of a `Report` or a `Start`: the parts that were named, by whatever release."""

    ready: bool = False
    writing: bool = False
    parts: Mapping[str, Part] = {}

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
    def restore(self) -> Restore:
        """That part, with 0 of 0 orders where there is none."""
        found = self.parts.get("restore")
        return found if isinstance(found, Restore) else Restore(ok=False)


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
    parts = {name: msgspec.convert(NOT_OK | part, KINDS.get(name, Part)) for name, part in found.parts.items()}
    return Ready(found.ready, found.writing, parts)
