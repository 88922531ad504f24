"""tests/integration/test_keeper.py on the system's PostgreSQL."""

import pytest

from integration.test_keeper import *  # noqa: F403 - its tests and its fixtures

pytestmark = [pytest.mark.others, pytest.mark.system]

# Its PostgreSQL is started with a short queue of notices, a setting that came with 17.
del test_a_full_queue_of_notices_is_an_outage_and_ends_when_its_listener_does  # noqa: F821 - one of the above
