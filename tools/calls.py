"""The calls of the Postman collection that tell a story, with the tests of each; `tools.postman` makes it of them.

Method, path, parameters, body and media types come from the OpenAPI document. Here stand what a person reads, and
JavaScript.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from orders.api.examples import sample_order


class Call(NamedTuple):
    """A call of an operation, `METHOD path`; it is answered `status`, which means `means`.

    `before` runs before it. `checks` are lines of the test of the status, `tests` are more tests by name. `values` are
    those of the parameters that it has, `body` is what it sends, if anything.
    """

    name: str
    operation: str
    status: int
    means: str
    about: str
    checks: Sequence[str] = ()
    tests: Mapping[str, Sequence[str]] = {}
    before: Sequence[str] = ()
    values: Mapping[str, str] = {}
    body: str | None = None


class Folder(NamedTuple):
    """Calls that belong together, in their order."""

    name: str
    about: str
    calls: Sequence[Call]


def body(**parts: Any) -> str:
    """The example under the collection's uid, with other parts."""
    return json.dumps(sample_order() | {"order_uid": "{{orderUid}}"} | parts, indent=2, ensure_ascii=False)


POST, GET = "POST /orders", "GET /orders/{order_uid}"
SAVED = ('pm.expect(pm.response.json()).to.eql({ message: "Order processed and saved successfully" });',)
FIRST = {"order_uid": "{{orderUid}}"}
PLACED = {
    "Location is the path of the order": [
        "const path = `/orders/${pm.collectionVariables.get('orderUid')}`;",
        'pm.expect(pm.response.headers.get("Location")).to.equal(path);',
    ]
}
ID = (
    "const id = pm.response.json().order.id;",
    "pm.expect(Number.isSafeInteger(id) && id > 0, `id: ${id}`).to.be.true;",
)
ORIGINAL = """\
pm.expect(pm.response.json()).to.eql({
    order: {
        id: id,
        order_uid: pm.collectionVariables.get("orderUid"),
        track_number: "WBILMTESTTRACK",
        entry: "WBIL",
        locale: "en",
        internal_signature: "",
        customer_id: "test",
        delivery_service: "meest",
        shardkey: "9",
        sm_id: 99,
        date_created: "2021-11-26T06:22:19Z",
        oof_shard: "1",
        delivery: {
            ID: id,
            OrderID: id,
            Name: "Test Testov",
            Phone: "+9720000000",
            Zip: "2639809",
            City: "Kiryat Mozkin",
            Address: "Ploshad Mira 15",
            Region: "Kraiot",
            Email: "test@gmail.com",
        },
        payment: {
            ID: id,
            OrderID: id,
            Transaction: "b563feb7b2b84b6test",
            RequestID: "",
            Currency: "USD",
            Provider: "wbpay",
            Amount: 1817,
            PaymentDT: 1637907727,
            Bank: "alpha",
            DeliveryCost: 1500,
            GoodsTotal: 317,
            CustomFee: 0,
        },
        items: [
            {
                ID: 1,
                OrderID: id,
                ChrtID: 9934930,
                TrackNumber: "WBILMTESTTRACK",
                Price: 453,
                Rid: "ab4219087a764ae0btest",
                Name: "Mascaras",
                Sale: 30,
                Size: "0",
                TotalPrice: 317,
                NmID: 2389212,
                Brand: "Vivienne Sabo",
                Status: 202,
            },
        ],
    },
});""".splitlines()

FOUND_FIRST = (
    "const uid = pm.response.json().orders[0].order_uid;",
    'pm.expect(uid).to.equal(pm.collectionVariables.get("orderUid"));',
)
FOUND_PHONE = (
    "const phones = pm.response.json().orders.map((order) => order.delivery.phone);",
    'pm.expect(new Set(phones)).to.eql(new Set(["+9720000000"]));',
)
FOUND_BOTH = (
    "const { orders, missing } = pm.response.json();",
    'pm.expect(orders.map((order) => order.order_uid)).to.eql([pm.collectionVariables.get("orderUid")]);',
    'pm.expect(missing).to.eql(["no-such-order"]);',
)

ORDERS = Folder(
    "Orders",
    "Save an order and get it back, and what the service answers when something is wrong. Send them from top to "
    "bottom: the later calls are about the order that the first one saved.",
    [
        Call(
            "Save an order",
            POST,
            201,
            "a new order is saved",
            "Saves the order in the body. The answer comes when the order is in the database.\n\n"
            "Each time you send this call, the script before it chooses a new `orderUid` (the original Go service's "
            "`b563feg7bdg3286ttjr67siej` with a random ending), so the order is new and the answer is 201. To send the "
            "original's order itself, put `b563feg7bdg3286ttjr67siej` in place of `{{orderUid}}` in the body.\n\n"
            "The header `Location` says where to get the order. (A service that runs with "
            "`ORDERS_DEFAULT_VIEW=original` answers 200 here, as the original Go service did.)",
            SAVED,
            PLACED,
            [
                "// A new order each time, so that the collection can be run again and again.",
                'const uid = pm.variables.replaceIn("b563feg7bdg3286ttjr67siej-{{$guid}}");',
                'pm.collectionVariables.set("orderUid", uid);',
                "// What is posted, for the call that gets it back.",
                'pm.collectionVariables.set("postedOrder", pm.variables.replaceIn(pm.request.body.raw));',
            ],
            body=body(),
        ),
        Call(
            "Save the same order again",
            POST,
            200,
            "the same order is there already",
            "Sends the same order once more. It is there already with the same content, so the answer is 200 and "
            "nothing is saved twice. A client that got no answer can therefore simply send its order again.",
            SAVED,
            PLACED,
            body=body(),
        ),
        Call(
            "Save other content under the same uid",
            POST,
            409,
            "an order is never overwritten by a POST",
            "Sends an order with the same `order_uid` and another payment amount (1818 in place of 1817). The answer "
            "is 409, and the order that was saved first stays as it is: the next call shows it.",
            ['pm.expect(pm.response.json()).to.include({ error: "Order exists with other content" });'],
            body=body(payment=sample_order()["payment"] | {"amount": 1818}),
        ),
        Call(
            "Get the order",
            GET,
            200,
            "the order is found",
            "Gets the order that the first call saved: everything that was posted, with the same names and nesting, "
            "and the service's own `id`.\n\nFor the original Go service's order the path is "
            "`/orders/b563feg7bdg3286ttjr67siej`.",
            tests={
                "The id is a positive integer": ID,
                "Everything that was posted comes back, and nothing else": [
                    "const { id, ...order } = pm.response.json().order;",
                    'pm.expect(order).to.eql(JSON.parse(pm.collectionVariables.get("postedOrder")));',
                ],
            },
            values=FIRST,
        ),
        Call(
            "Get the order in the shape of the original Go service",
            GET,
            200,
            "the order is found",
            "Gets the same order in the shape that the original Go service documented: the order's own fields in "
            "snake_case, those of its parts as `ID`, `OrderID`, `ChrtID`, `PaymentDT` and so on.\n\n"
            "The values are true where the original showed zeros by mistake. `ID` of the delivery and the payment, and "
            "every `OrderID`, is the order's id; an item's `ID` is its line number from 1.",
            tests={"The original Go service's names, with true values": [*ID, *ORIGINAL]},
            values={**FIRST, "view": "original"},
        ),
        Call(
            "Get an order that does not exist",
            GET,
            404,
            "there is no such order",
            "Asks for an order that nobody saved. The answer is 404.",
            ['pm.expect(pm.response.json()).to.include({ message: "Order not found" });'],
            values={"order_uid": "no-such-order"},
        ),
        Call(
            "Send broken JSON",
            POST,
            400,
            "the body is not JSON",
            "Sends a body that breaks off in the middle. The answer is 400, and nothing is saved.",
            ['pm.expect(pm.response.json()).to.include({ error: "Invalid JSON" });'],
            body='{"order_uid": "{{orderUid}}", "track_number":',
        ),
        Call(
            "Send an invalid order",
            POST,
            422,
            "the order is invalid",
            "Sends JSON that is not a valid order: the item's price is a text. The answer is 422, with the path of "
            "what is wrong and the reason, and nothing is saved.",
            ['pm.expect(pm.response.json().error).to.equal("Invalid order");'],
            {
                "The answer says what is wrong and where": [
                    "pm.expect(pm.response.json().errors).to.eql([",
                    '    { detail: "Expected `integer`, got `string`", pointer: "#/items/0/price" },',
                    "]);",
                ]
            },
            body=body(items=[sample_order()["items"][0] | {"price": "453"}]),
        ),
    ],
)

HEALTH = Folder(
    "Health",
    "What a load balancer or an orchestrator asks.",
    [
        Call(
            "Is the process alive?",
            "GET /livez",
            200,
            "the process is alive",
            "Answers 200 as long as the process runs, whatever becomes of PostgreSQL and Kafka. For a liveness probe.",
            ["pm.expect(pm.response.json()).to.eql({ alive: true });"],
        ),
        Call(
            "Is its start through?",
            "GET /startupz",
            200,
            "the start has finished",
            "Answers 503 until PostgreSQL has answered and the restore of the memory has begun, and 200 from then on. "
            "For a startup probe.",
            ["pm.expect(pm.response.json().started).to.be.true;"],
        ),
        Call(
            "Is it ready?",
            "GET /readyz",
            200,
            "the service is ready",
            "Returns 200 when the service is ready and 503 when it is not. Without a parameter it speaks for reading: "
            "memory or PostgreSQL can answer a GET. `for=writing` speaks for POSTs too. Each part (the process itself, "
            "PostgreSQL, Kafka, the assignment of partitions, the lag, memory and its restore) says for itself "
            "whether it is in order and, if not, why. For a readiness probe.",
            ["pm.expect(pm.response.json().ready).to.be.true;"],
            {
                "Each part is in order": [
                    "const parts = pm.response.json().parts;",
                    'const names = ["process", "postgres", "kafka", "assignment", "lag", "memory", "restore"];',
                    "pm.expect(parts).to.have.all.keys(names);",
                    "Object.values(parts).forEach(function (part) {",
                    '    pm.expect(part).to.include({ ok: true, reason: "" });',
                    "});",
                ]
            },
            values={"for": "writing"},
        ),
    ],
)

PAGE = Folder(
    "Page",
    "What a person sees in a browser.",
    [
        Call(
            "The page that says what this is",
            "GET /",
            200,
            "a page of HTML",
            "A small page for people: what the service does and how to call it.",
            [
                'pm.expect(pm.response.headers.get("Content-Type")).to.equal("text/html; charset=utf-8");',
                'pm.expect(pm.response.text()).to.include("<title>Orders</title>");',
            ],
            {
                "The page may load nothing from elsewhere and run no scripts": [
                    'const policy = pm.response.headers.get("Content-Security-Policy");',
                    "pm.expect(policy).to.match(/^default-src 'none';/);",
                ]
            },
        ),
    ],
)

FIND = Folder(
    "Find orders",
    "Lists, searches and many orders at once. What is personal stands in the body, never in a URL.",
    [
        Call(
            "List the newest orders",
            "GET /orders",
            200,
            "a page of orders",
            "The newest first. `next` is the cursor of the next page, `total` says how many there are in all.",
            tests={"The order that was saved last is the first": FOUND_FIRST},
        ),
        Call(
            "Find orders by phone",
            "POST /orders/search",
            200,
            "a page of orders",
            "The last ten digits count. `q` in place of `phone` takes anything that you have in hand.",
            tests={"Each order has this phone": FOUND_PHONE},
            body=json.dumps({"phone": "+972 000 0000", "limit": 5}, indent=2),
        ),
        Call(
            "Get many orders by their uids",
            "POST /orders/lookup",
            200,
            "those that are stored, and which are not",
            "In the order asked, up to 1,000 of them.",
            tests={"One is stored, the other is missing": FOUND_BOTH},
            body=json.dumps({"order_uids": ["{{orderUid}}", "no-such-order"]}, indent=2),
        ),
    ],
)

FOLDERS = (ORDERS, FIND, HEALTH, PAGE)
