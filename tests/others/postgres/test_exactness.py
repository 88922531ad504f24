"""tests/acceptance/test_exactness.py on the system's PostgreSQL."""

import pytest

from acceptance.test_exactness import *  # noqa: F403 - its tests and its fixtures

pytestmark = [pytest.mark.others, pytest.mark.system]
