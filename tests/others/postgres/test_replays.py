"""tests/integration/test_replays.py on the system's PostgreSQL."""

import pytest

from integration.test_replays import *  # noqa: F403 - its tests and its fixtures

pytestmark = [pytest.mark.others, pytest.mark.system]
