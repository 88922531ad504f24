"""The service described: OpenAPI, AsyncAPI, JSON Schema, and the reference for people."""

from orders.api.answers import HTML, Response, answer, page
from orders.api.endpoint import Request, Resource, Returns
from orders.api.openapi import asyncapi, openapi, order_schema
from orders.api.reference import docs_page

resource = Resource()


@resource.get("/openapi.json", {200: Returns("An OpenAPI 3.1 document")})
async def get_openapi(request: Request) -> Response:
    """Get the description of this HTTP API.

    Generators of clients, Postman and the like read it.
    """
    return answer(200, openapi(request.endpoints))


@resource.get("/asyncapi.json", {200: Returns("An AsyncAPI 3.0 document")})
async def get_asyncapi(request: Request) -> Response:
    """Get the description of the Kafka topic.

    It has the name of the topic, the headers of a record and the schema of an order.
    """
    return answer(200, asyncapi(request.dependencies.topic))


@resource.get("/schemas/order.json", {200: Returns("A JSON Schema, 2020-12")})
async def get_schema(_request: Request) -> Response:
    """Get the JSON Schema of an order.

    Producers can check with it what they send, by POST or to the topic.
    """
    return answer(200, order_schema())


@resource.get("/docs", {200: Returns("The page", media=HTML)})
async def get_docs(request: Request) -> Response:
    """Read how to call this service.

    The same as `/openapi.json`, as a page.
    """
    return page(docs_page(request.endpoints))
