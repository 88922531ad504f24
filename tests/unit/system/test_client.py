"""What the commands show."""

import json

from orders.system import client
from orders.system.client import Restore


def test_a_restore_that_goes_on_is_told_in_percent() -> None:
    assert client.restore_text(Restore(ok=False, done=30, total=120)) == "30 of 120 orders (25 %)"
    assert client.restore_text(Restore(ok=True, done=120, total=120)) == "120 of 120 orders"
    assert client.restore_text(Restore(ok=False, done=0, total=0)) == "0 of 0 orders"


def test_a_document_for_the_eye_is_the_same_json() -> None:
    assert json.loads(client.indented('{"a":"юг"}'.encode())) == {"a": "юг"}
