"""tests/integration/test_indexes.py on the system's PostgreSQL."""

import pytest

from integration.test_indexes import *  # noqa: F403 - its tests and its fixtures

pytestmark = [pytest.mark.others, pytest.mark.system]
