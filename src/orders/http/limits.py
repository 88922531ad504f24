"""What a serve process takes from its clients at most; each limit is a setting."""

from typing import NamedTuple

from orders.settings import Settings


class Limits(NamedTuple):
    """Sizes are in bytes, times in seconds."""

    head_bytes: int
    """Of a request's line and fields."""
    head_deadline: float
    """For a new connection to send its first request, and for any request to send its head."""
    body_deadline: float
    """For a body, once its head is there."""
    answer_deadline: float
    """For a client to take what waits to be sent."""
    keep_alive: float
    """For an idle connection."""
    connections: int
    body_bytes: int
    nesting: int
    """Of objects and arrays in an order, itself being 1."""
    waiting_posts: int
    waiting_misses: int
    waiting_searches: int


def limits_of(settings: Settings) -> Limits:
    return Limits(
        settings.http_head_bytes,
        settings.http_head_deadline,
        settings.http_body_deadline,
        settings.http_answer_deadline,
        settings.http_keep_alive,
        settings.http_connections,
        settings.http_body_bytes,
        settings.order_nesting,
        settings.http_waiting_posts,
        settings.http_waiting_misses,
        settings.http_waiting_searches,
    )


USUAL = limits_of(Settings())
