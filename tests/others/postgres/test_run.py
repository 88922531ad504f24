"""The whole way of tests/acceptance/test_run.py, from `orders send` to `orders get`, on the system's PostgreSQL."""

import pytest

from acceptance.conftest import system  # noqa: F401 - a fixture of what follows
from acceptance.test_run import test_commands_find_the_running_system  # noqa: F401 - run here too

pytestmark = [pytest.mark.others, pytest.mark.system]
