"""The whole way on services of one's own, and all that went it is there after a restart."""

from support import way
from support.services import open_folder
from support.system import running


def test_orders_that_are_posted_and_sent_are_served_also_after_a_restart(addresses: list[str]) -> None:
    with open_folder() as folder:
        with running(folder / "data", addresses) as first:
            found = way.go(first, seed=3)
        with running(folder / "data", addresses) as second:
            assert {order_uid: way.served(second, order_uid) for order_uid in found} == found
            assert second.status()["ready"]
