"""What is asked of the brokers about the topic, where they do not answer as they should."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from orders.errors import Unavailable
from orders.kafka.topic import RENEWED_SECONDS, TopicView
from support.fenced import FencedWay
from support.waiting import wait_for

VIEWS = 12
"""Of the clients that are told of no broker, about one in five has none to ask from then on."""


def test_a_broker_that_was_fenced_is_asked_again(kafka_bootstrap: str, make_topic: Callable[..., str]) -> None:
    """Its client forgets the only broker where a fenced one names none, and may fail for ever: another is made."""
    topic, now = make_topic(), [0.0]
    with FencedWay(kafka_bootstrap) as way:
        views = [TopicView({"bootstrap.servers": way.bootstrap}, topic, lambda: now[0]) for _ in range(VIEWS)]
        (before,) = {view.look().topic_id for view in views}
        way.fenced = True
        for view in views:
            with pytest.raises(Unavailable, match="Kafka is unavailable"):
                view.look()
        way.fenced = False
        now[0] += RENEWED_SECONDS
        for view in views:
            wait_for(partial(topic_id, view), "the broker is asked again", 10)
            assert topic_id(view) == before


def topic_id(view: TopicView) -> str | None:
    with suppress(Unavailable):
        return view.look().topic_id
    return None
