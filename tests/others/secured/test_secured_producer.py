"""A producer that has no permission when it is made: librdkafka takes that for the end of it, we do not."""

import pytest

from orders.errors import Misconfigured, OrdersError
from orders.kafka.producer import Delivered, OrderProducer
from orders.kafka.topic import create_topic
from support.acls import Acls
from support.secured import SecuredKafka
from support.waiting import wait_for

pytestmark = [pytest.mark.others, pytest.mark.system]


def result(producer: OrderProducer) -> Delivered | OrdersError:
    """What is reported of one record."""
    reports: list[Delivered | OrdersError] = []
    try:
        producer.produce(b"k", b"{}", (), reports.append)
    except OrdersError as error:
        return error
    return wait_for(lambda: reports, "a report", 15)[0]


def test_a_producer_without_the_permission_says_so_and_works_once_it_is_granted(secured: SecuredKafka) -> None:
    create_topic(secured.admin, "narrow", 1)
    acls = Acls(secured.admin, "narrow", "narrow")
    acls.grant("writer", [("topic", "Describe")])
    producer = OrderProducer(secured.user("writer"), "narrow", 5)
    try:
        told = wait_for(lambda: wrong(result(producer)), "the right that lacks", 20)
        assert "no Write permission on topic" in str(told)
        acls.grant("writer", [("topic", "Write")])
        wait_for(lambda: isinstance(result(producer), Delivered), "a record is taken", 20)
    finally:
        producer.close()


def wrong(said: Delivered | OrdersError) -> Misconfigured | None:
    return said if isinstance(said, Misconfigured) else None
