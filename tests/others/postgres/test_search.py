"""tests/integration/test_search.py on the system's PostgreSQL."""

import pytest

from integration.test_search import *  # noqa: F403 - its tests and its fixtures

pytestmark = [pytest.mark.others, pytest.mark.system]
