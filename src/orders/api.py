"""HTTP but for the fast lane: orders, health, the page, and what an error answers."""

import hashlib
import re
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import NamedTuple, Protocol, cast

import msgspec
import structlog
import uvicorn
from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.enums import HttpMethod
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from orders.decoder import decode
from orders.errors import OrdersError
from orders.fastlane import Lookup, fast_lane
from orders.health import Report
from orders.order import MAX_DOCUMENT_BYTES, Content
from orders.record import Invalid
from orders.reader import Found
from orders.views import original
from orders.waiting import Told

log = structlog.get_logger()

UID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
RETRY = (b"retry-after", b"1")
KEEP_ALIVE_SECONDS = 75
GRACE_SECONDS = 5
SAVED = "Order processed and saved successfully"

_encode = msgspec.json.Encoder().encode
HttpRequest = Request[object, object, State]
