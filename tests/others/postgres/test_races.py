"""tests/integration/test_races.py on the system's PostgreSQL."""

import pytest

from integration.test_races import *  # noqa: F403 - its tests and its fixtures

pytestmark = [pytest.mark.others, pytest.mark.system]
