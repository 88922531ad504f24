"""What the commands show."""

import json

from orders.commands import client


def test_a_document_for_the_eye_is_the_same_json() -> None:
    assert json.loads(client.indented('{"a":"юг"}'.encode())) == {"a": "юг"}
