"""Bodies as they go over HTTP, for the descriptions of the API."""

from functools import cache
from importlib.resources import files

import msgspec

from orders.api.health import report_of
from orders.api.schemas import Json
from orders.api.startup import FINISHED
from orders.api.views import original
from orders.decoder import decode
from orders.order import Content, document
from orders.readiness import Alive, Lag, ReadinessPart, ReadinessParts, RestorePart, StartParts, StartupReport
from orders.search.criteria import Criteria
from orders.search.cursor import Position, encode

UID = "b563feg7bdg3286ttjr67siej"


WELL = ReadinessPart(ok=True)


@cache
def sample_order() -> Json:
    """The sample order of the original Go service, as it is posted."""
    sample: Json = msgspec.json.decode(_sample())
    return sample


def served() -> Json:
    """The same, as a GET returns it."""
    return _json(_served())


def original_view() -> Json:
    """The same with `?view=original`."""
    return _json(original(_served()))


def listed() -> Json:
    """A page with one order."""
    cursor = encode(Criteria(), "next", Position(1, UID))
    return {
        "orders": [served()["order"]],
        "next": cursor,
        "prev": None,
        "total": {"count": 1_200_000, "is_estimate": True},
    }


def search() -> Json:
    """The body of a search by phone."""
    return {"phone": "+972 000 0000", "limit": 10}


def lookup() -> Json:
    """The body of a lookup."""
    return {"order_uids": [UID, "another"]}


def looked_up() -> Json:
    """What it returns where only the first order is stored."""
    return {"orders": [served()["order"]], "missing": ["another"]}


def alive() -> Json:
    """/livez."""
    return _plain(Alive(alive=True))


def ready() -> Json:
    """/readyz where all is well."""
    return _plain(report_of(_parts(WELL), "reading"))


def not_ready() -> Json:
    """/readyz?for=writing while Kafka is unavailable."""
    return _plain(report_of(_parts(ReadinessPart(ok=False, reason="Kafka does not answer")), "writing"))


def started() -> Json:
    """/startupz once the start is over."""
    return _plain(FINISHED)


def starting() -> Json:
    """/startupz while PostgreSQL is unavailable."""
    waiting = ReadinessPart(ok=False, reason="the keeper waits: PostgreSQL cannot be reached")
    return _plain(
        StartupReport(
            started=False, parts=StartParts(ReadinessPart(ok=False, reason="PostgreSQL cannot be reached"), waiting)
        )
    )


def _parts(kafka: ReadinessPart) -> ReadinessParts:
    return ReadinessParts(
        WELL, kafka, WELL, Lag(ok=True, messages=0), WELL, RestorePart(ok=True, done=22_026, total=22_026)
    )


def _sample() -> bytes:
    return files("orders").joinpath("original.json").read_bytes()


@cache
def _served() -> bytes:
    content = decode(_sample())
    if not isinstance(content, Content):
        raise TypeError("the sample is not a valid order")
    return document(1, content.text)


def _json(text: bytes) -> Json:
    value: Json = msgspec.json.decode(text)
    return value


def _plain(value: object) -> Json:
    plain: Json = msgspec.to_builtins(value)
    return plain
