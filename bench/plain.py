"""What one would write first: FastAPI on uvicorn, orders in a dict. Run as `python -m bench.plain JSON`."""

import sys
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from fastapi import FastAPI, HTTPException
from msgspec import Struct


class Task(Struct, frozen=True):
    """What the server is told; `documents` is a file: a msgpack map of served bytes by uid."""

    port: int
    documents: str


def application(orders: dict[str, Any]) -> FastAPI:
    """GET /orders/{order_uid} as FastAPI's own documentation would have it."""
    app = FastAPI()

    async def get_order(order_uid: str) -> dict[str, Any]:
        if order_uid not in orders:
            raise HTTPException(404, "Order not found")
        found: dict[str, Any] = orders[order_uid]
        return found

    app.add_api_route("/orders/{order_uid}", get_order)
    return app


def main(task: Task) -> None:
    """Serves until SIGTERM, on the event loop and the parser that our own server has."""
    documents = msgspec.msgpack.decode(Path(task.documents).read_bytes(), type=dict[str, bytes])
    app = application({uid: msgspec.json.decode(document) for uid, document in documents.items()})
    uvicorn.run(app, port=task.port, loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Task))
