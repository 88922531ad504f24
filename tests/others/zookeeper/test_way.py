"""The whole way on a Kafka of ZooKeeper's time: POST, `orders send`, GET, `orders status`, a restart."""

import pytest

from acceptance.conftest import addresses  # noqa: F401 - the fixture of the very same test
from acceptance.test_way import *  # noqa: F403 - the very same test

pytestmark = pytest.mark.others
