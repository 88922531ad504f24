"""tests/acceptance/test_roles.py on the system's PostgreSQL, which takes nobody in without TLS and SCRAM."""

import pytest

from acceptance.test_roles import *  # noqa: F403 - its tests and its fixtures

pytestmark = [pytest.mark.others, pytest.mark.system]
