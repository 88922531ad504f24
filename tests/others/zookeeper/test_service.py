"""The tests' own Kafka of ZooKeeper's time: on loopback alone, and gone with the process that started it."""

from pathlib import Path

import psutil
import pytest

from orders.embedded.ports import LOOPBACK
from support.standin import started_by_another
from support.waiting import wait_for

pytestmark = pytest.mark.others


def test_both_listen_on_loopback_alone_and_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    with started_by_another("zookeeper", tmp_path) as (starter, broker):
        *_, keeper = map(int, (tmp_path / "zookeeper" / "pids").read_text().split())
        for pid in (broker, keeper):
            listening = [c for c in psutil.Process(pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
            assert {each.laddr.ip.removeprefix("::ffff:") for each in listening} == {LOOPBACK}
        starter.kill()
        wait_for(lambda: not psutil.pid_exists(broker) and not psutil.pid_exists(keeper), "their end", 20)
