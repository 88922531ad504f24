"""Kills at seeded moments, on a Kafka of ZooKeeper's time."""

import pytest

from acceptance.test_exactness import *  # noqa: F403 - the very same test

pytestmark = pytest.mark.others
