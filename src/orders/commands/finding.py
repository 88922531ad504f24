"""Lists and searches of a running system, asked over HTTP."""

import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Struct

from orders.errors import OrdersError, StartError, UsageError
from orders.http.problems import PATH, Problem
from orders.settings import Settings
from orders.system.probe import fetch, url_for

CREATED = ("created_from", "created_to")
FILTERS = ("track_number", "customer_id", "transaction", *CREATED, "received_from", "received_to")
FIELDS = ("phone", "email", "name", "name_prefix")
PAGE = ("limit", "cursor")
LIST = (*FILTERS, *PAGE)
SEARCH = (*FIELDS, *PAGE)
"""Options that HTTP knows by the same names."""

SENTENCES: Mapping[str, str] = {
    "index-building": "PostgreSQL still builds the index that this needs: `orders status` shows how far it is",
    "busy": "too many searches run at once, or this one took too long: try again",
    "unavailable": "PostgreSQL is unavailable, or something is misconfigured: `orders status` says which",
    **dict.fromkeys(
        ("not-found", "method-not-allowed"), "the running system is of a release without lists: upgrade it"
    ),
    "invalid-cursor": "the cursor is not one of this list: take the whole command below one of its pages",
}
"""What a person reads for a kind of error."""
WRONG = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
ARGUMENT = re.compile(r"`([a-z_]+)`|\b((?:created|received)_(?:from|to)|track_number|customer_id|name_prefix)\b")
"""Names of HTTP's arguments in a sentence."""


class FoundOrder(Struct, frozen=True):
    """An order in few words; nothing of it is personal."""

    order_uid: Annotated[str, Meta(description="which order")]
    id: Annotated[int, Meta(description="its number: 1 is the first that was stored")]
    version: Annotated[int, Meta(description="grows with every change of it")]
    received: Annotated[str | None, Meta(description="time of the record that it came with, in UTC")]
    date_created: Annotated[str | None, Meta(description="when it was created, in UTC")]
    track_number: Annotated[str, Meta(description="tracking number of the parcel")]
    customer_id: Annotated[str, Meta(description="id of the customer")]
    delivery_service: Annotated[str, Meta(description="carrier")]
    city: Annotated[str, Meta(description="city or town that it goes to")]
    currency: Annotated[str, Meta(description="currency of the amount")]
    amount: Annotated[int, Meta(description="what was paid in all")]
    items: Annotated[int, Meta(description="how many lines it has")]
    first_item: Annotated[str | None, Meta(description="name of the first line")]
    status: Annotated[int | None, Meta(description="state of the first line")]


class FoundTotal(Struct, frozen=True):
    """How many orders there are in all."""

    count: Annotated[int, Meta(description="how many")]
    is_estimate: Annotated[bool, Meta(description="whether PostgreSQL's planner guessed it; else it was counted")]


class FoundOrders(Struct, frozen=True):
    """A page of orders, as HTTP returns it with `fields` summary."""

    orders: Annotated[list[FoundOrder], Meta(description="up to `--limit`; fewer, or none, is not the end")]
    next: Annotated[str | None, Meta(description="`--cursor` of the next page; null at the end")]
    prev: Annotated[str | None, Meta(description="`--cursor` of the page before; null at the beginning")]
    total: Annotated[FoundTotal | None, Meta(description="how many there are in all; null with `--cursor`")] = None
    matched: Annotated[
        dict[str, list[str]], Meta(description="by order_uid, the fields that have TEXT as a whole")
    ] = {}
    searched: Annotated[list[str], Meta(description="in which fields TEXT was looked for")] = []

    @property
    def is_end(self) -> bool:
        """Whether there is nothing here and nothing behind."""
        return not self.orders and self.next is None


def listed(settings: Settings, asked: Mapping[str, Any]) -> FoundOrders:
    """A page of GET /orders. Raises `StartError`, and `UsageError` for what cannot be asked."""
    return _page(url_for(settings), f"/orders?{urlencode(_given(asked))}")


def searched(settings: Settings, asked: Mapping[str, Any]) -> FoundOrders:
    """The same of POST /orders/search: what is sought may be personal, and stands in no URL."""
    return _page(url_for(settings), "/orders/search", msgspec.json.encode(_given(asked)))


def _given(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What is not None; times as texts."""
    texts = {name: each.isoformat() if isinstance(each, datetime) else each for name, each in asked.items()}
    return {"fields": "summary"} | {name: each for name, each in texts.items() if each is not None}


def _page(url: str, path: str, body: bytes | None = None) -> FoundOrders:
    status, answer = fetch(url, path, body=body)
    try:
        if status == HTTPStatus.OK:
            return msgspec.json.decode(answer, type=FoundOrders)
        raise error_of(msgspec.json.decode(answer, type=Problem))
    except msgspec.MsgspecError:
        raise StartError(f"{url} answered {status}, and not as this release does: is it an order service?") from None


def error_of(problem: Problem) -> OrdersError:
    """What went wrong in one sentence, with the options by their names here."""
    kind = problem.type.removeprefix(PATH)
    said = problem.detail or problem.title
    if problem.errors:
        said = "; ".join(f"`{each.pointer.removeprefix('#/')}` {each.detail}" for each in problem.errors)
    named = ARGUMENT.sub(lambda found: option_of(found[1] or found[2]), str(said)).rstrip(".")
    return (UsageError if problem.status in WRONG else StartError)(SENTENCES.get(kind, named))


def option_of(argument: str) -> str:
    """What an argument of HTTP is called on the command line."""
    return "TEXT" if argument == "q" else f"--{argument.replace('_', '-')}"
