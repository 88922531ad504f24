"""`orders topics create` on a Kafka of ZooKeeper's time."""

import pytest

from integration.test_topics import *  # noqa: F403 - the very same tests

pytestmark = pytest.mark.others
