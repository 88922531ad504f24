"""Writes the Postman collection, tests/postman/orders.postman_collection.json. `python -m tools.postman`.

Each operation of the OpenAPI document is called: as `tools.calls` has it, or else once with the first value of each
parameter. A test says when the file is no longer what comes of both.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from orders.api.app import ENDPOINTS
from orders.api.examples import UID, sample_order
from orders.api.openapi import openapi
from tools.calls import FOLDERS, Call, Folder

FILE = Path(__file__).parents[1] / "tests/postman/orders.postman_collection.json"
DOCUMENT: dict[str, Any] = json.loads(openapi(ENDPOINTS))
VARIABLES = {
    "baseUrl": "http://127.0.0.1:8080",
    "orderUid": UID,
    "postedOrder": json.dumps(sample_order(), separators=(",", ":"), ensure_ascii=False),
}
ABOUT = f"""\
The calls of the order service, each with tests.

Start the service with `make run` (or `./orders run`), then send the calls from top to bottom, or run the whole \
collection. It can be run as often as you like: each run saves an order of its own.

Variables of the collection:
* `baseUrl`: where the service is, without a slash at the end.
* `orderUid`: the order that the calls are about. The first call chooses a new one each time; before that it is \
`{UID}`, the one of the original Go service's example.
* `postedOrder`: what the first call posted, for the comparison with what comes back; before that it is the \
original Go service's example."""


def text() -> str:
    """The file."""
    collection = {
        "info": {
            "name": DOCUMENT["info"]["title"],
            "description": ABOUT,
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "variable": [{"key": name, "value": value, "type": "string"} for name, value in VARIABLES.items()],
        "item": [folder_of(each) for each in (*FOLDERS, rest())],
    }
    return json.dumps(collection, indent=2, ensure_ascii=False) + "\n"


def rest() -> Folder:
    """The operations that no call stands for; a HEAD is its GET without a body."""
    told = {call.operation for folder in FOLDERS for call in folder.calls}
    left = [name for name in operations() if name not in told and not name.startswith("HEAD ")]
    return Folder("Descriptions", "What the service says of itself.", [plain(name) for name in left])


def operations() -> Iterator[str]:
    """`METHOD path` of each."""
    for path, methods in DOCUMENT["paths"].items():
        yield from (f"{method.upper()} {path}" for method in methods)


def operation_of(name: str) -> dict[str, Any]:
    method, _, path = name.partition(" ")
    operation: dict[str, Any] = DOCUMENT["paths"][path][method.lower()]
    return operation


def plain(name: str) -> Call:
    """A call that is well if the first answer that is described comes."""
    operation = operation_of(name)
    status, answer = next(iter(operation["responses"].items()))
    values = {each["name"]: each["schema"]["enum"][0] for each in operation["parameters"] if each["required"]}
    about = f"{operation['summary']}."
    return Call(operation["summary"], name, int(status), answer["description"], about, values=values)


def folder_of(folder: Folder) -> dict[str, Any]:
    return {"name": folder.name, "description": folder.about, "item": [item(call) for call in folder.calls]}


def item(call: Call) -> dict[str, Any]:
    """A call with its scripts."""
    scripts = {"prerequest": list(call.before), "test": list(tests(call))}
    events = [
        {"listen": event, "script": {"type": "text/javascript", "exec": lines}}
        for event, lines in scripts.items()
        if lines
    ]
    return {"name": call.name, "event": events, "request": request(call), "response": []}


def tests(call: Call) -> Iterator[str]:
    """The lines of its tests: the status and the media type are described."""
    answer = operation_of(call.operation)["responses"][str(call.status)]
    (media,) = answer["content"]
    status = f"pm.expect(pm.response.code, pm.response.text()).to.equal({call.status});"
    yield from test(f"{call.status}: {call.means}", [status, *call.checks])
    yield from test(f"The answer is {media}", typed(media))
    for name, lines in call.tests.items():
        yield from test(name, lines)


def test(name: str, lines: Iterable[str]) -> list[str]:
    return [f"pm.test({json.dumps(name)}, function () {{", *(f"    {line}" for line in lines), "});"]


def typed(media: str) -> Sequence[str]:
    """JSON has no parameters (RFC 8259, 11)."""
    found = 'pm.response.headers.get("Content-Type")'
    if media.endswith("json"):
        return [f'pm.expect({found}).to.equal("{media}");', "pm.response.to.be.json;"]
    return [f'pm.expect({found}.split(";")[0]).to.equal("{media}");']


def request(call: Call) -> dict[str, Any]:
    """What is sent."""
    operation = operation_of(call.operation)
    method, _, path = call.operation.partition(" ")
    told: dict[str, Any] = {
        "method": method,
        "header": [],
        "url": url(path, operation, call),
        "description": call.about,
    }
    if call.body is not None:
        (media,) = operation["requestBody"]["content"]
        told["header"] = [{"key": "Content-Type", "value": media}]
        told["body"] = {"mode": "raw", "raw": call.body, "options": {"raw": {"language": "json"}}}
    return told


def url(path: str, operation: dict[str, Any], call: Call) -> dict[str, Any]:
    places = {each["name"]: each["in"] for each in operation["parameters"]}
    query = [{"key": name, "value": value} for name, value in call.values.items() if places[name] == "query"]
    filled = re.sub(r"{(\w+)}", lambda found: call.values[found[1]], path)
    raw = "{{baseUrl}}" + filled + ("?" if query else "") + "&".join(f"{each['key']}={each['value']}" for each in query)
    told = {"raw": raw, "host": ["{{baseUrl}}"], "path": filled[1:].split("/")}
    return told | {"query": query} if query else told


if __name__ == "__main__":
    FILE.write_text(text())
