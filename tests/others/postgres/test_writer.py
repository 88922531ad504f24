"""tests/integration/test_writer.py on the system's PostgreSQL."""

import pytest

from integration.test_writer import *  # noqa: F403 - its tests and its fixtures

pytestmark = [pytest.mark.others, pytest.mark.system]
