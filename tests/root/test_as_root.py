"""What goes another way as root, from other folders.

PostgreSQL runs as another user then, who must own its data; and Pythons may lie where only root may go.
"""

import pytest

from acceptance.test_bootstrap import (
    test_each_python_runs_the_whole_system_from_a_clone_whose_path_is_not_ascii,  # noqa: F401 - run here too
)
from acceptance.test_run import (
    test_a_signal_during_the_start_leaves_nothing,  # noqa: F401 - run here too
    test_an_order_outlives_a_killed_supervisor_and_a_second_start_serves_it,  # noqa: F401 - run here too
)
from integration.test_embedded_postgres import *  # noqa: F403 - its tests and its fixtures

pytestmark = pytest.mark.root

del test_root_may_keep_it_where_nobody_else_may_go  # noqa: F821 - one of the above, which is root's in its own place
