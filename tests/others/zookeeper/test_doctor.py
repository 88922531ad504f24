"""`orders doctor` on a Kafka of ZooKeeper's time."""

import pytest

from integration.test_doctor import (  # noqa: F401 - the very same tests
    test_a_fresh_topic_of_a_single_broker_is_fit,
    test_a_missing_topic_fails_with_the_command_that_makes_it,
    test_a_topic_that_may_lose_or_refuse_orders_is_reported_in_every_respect,
    test_what_retention_has_taken_from_below_the_position_fails_with_the_page,
)

pytestmark = pytest.mark.others
