"""`orders run` that is asked to stop under load: no request is answered wrongly or cut."""

import signal
import time

from support.balancer import UNREADY_CHECKS, Balancer
from support.services import open_folder
from support.system import left_of, running
from support.waiting import wait_for


def test_nothing_is_cut_while_the_system_drains(addresses: list[str]) -> None:
    """Two serve processes behind one port are unready from the signal on; POSTs still have their outcomes."""
    options = ["--http-workers", "2", "--drain-seconds", "3", *addresses]
    with open_folder() as folder, running(folder / "data", options) as system:
        balancer = Balancer(system.url, clients=8)
        with balancer.sending():
            wait_for(lambda: sum(len(seen.statuses) for seen in balancer.seen) > 200, "load", 20)
            at_signal = len(balancer.checks)
            asked = time.monotonic()
            system.process.send_signal(signal.SIGTERM)
        assert system.process.wait(3 + 10) == -signal.SIGTERM
        assert time.monotonic() - asked < 3 + 10
        assert [failure for seen in balancer.seen for failure in seen.failures] == []
        first = balancer.checks.index(False)
        assert first <= at_signal + 1, "unready at the first check after the signal, whichever process answers"
        assert balancer.checks[first:] == [False] * UNREADY_CHECKS
        assert set(balancer.reasons[first:]) == {"this process is stopping"}
        assert left_of(system.data) == []
        assert "Traceback" not in system.said


def test_a_second_signal_skips_the_drain_and_stops_in_order(addresses: list[str]) -> None:
    """The rest has its usual time, and the exit status is the first signal's."""
    with open_folder() as folder, running(folder / "data", ["--drain-seconds", "600", *addresses]) as system:
        system.process.send_signal(signal.SIGINT)
        wait_for(lambda: "draining: " in system.said, "the drain")
        assert system.request("GET", "/readyz")[0] == 503
        assert system.request("GET", "/startupz")[0] == 200
        assert system.stop(signal.SIGTERM) < 10
        assert system.process.returncode == -signal.SIGINT
        assert "process_killed" not in system.said
        assert left_of(system.data) == []
