"""The consumer on a Kafka of ZooKeeper's time: static membership, cooperative assignment, topic ids, fencing."""

import pytest

from integration.test_consumer import *  # noqa: F403 - the very same tests

pytestmark = pytest.mark.others
