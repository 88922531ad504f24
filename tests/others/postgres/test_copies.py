"""tests/integration/test_copies.py on the system's PostgreSQL."""

import pytest

from integration.test_copies import *  # noqa: F403 - its tests and its fixtures

pytestmark = [pytest.mark.others, pytest.mark.system]
