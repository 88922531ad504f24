"""tests/integration/test_reader.py on the system's PostgreSQL."""

import pytest

from integration.test_reader import *  # noqa: F403 - its tests and its fixtures

pytestmark = [pytest.mark.others, pytest.mark.system]
