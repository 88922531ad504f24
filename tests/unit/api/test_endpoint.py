"""An endpoint reads its parameters as it declares them, and answers what it declares for those that it cannot read."""

import asyncio
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from orders.api.answers import ProblemError, Response
from orders.api.endpoint import Endpoint, Header, Path, Query, Request, Resource, Returns, parameters_of
from support.wire import plain_dependencies

Colour = Literal["red", "null"]


def declared(unknown: str = "") -> tuple[Endpoint, dict[str, Any]]:
    """An endpoint, and what its handler was called with."""
    resource, got = Resource(), dict[str, Any]()

    @resource.get("/things/{number}", {200: Returns("A thing")}, unknown=unknown)
    async def get_thing(
        _request: Request,
        number: Annotated[int, Path("Its number", invalid="not-found")],
        colour: Annotated[Colour | None, Query("Its colour", invalid="unknown-view", name="color")] = None,
        tags: Annotated[str, Header("Its tags", "X-Tags")] = "",
    ) -> Response:
        """Get a thing.

        Any thing.
        """
        got.update(number=number, colour=colour, tags=tags)
        return Response()

    return resource.endpoints[0], got


def request(path: str = "7", query: str = "", *fields: tuple[bytes, bytes]) -> Request:
    scope = {
        "type": "http",
        "method": "GET",
        "path_params": {"number": path},
        "query_string": query.encode(),
        "headers": list(fields),
    }

    async def receive() -> dict[str, Any]:
        raise AssertionError

    return Request(scope, receive, plain_dependencies(), ())


def read(query: str = "", path: str = "7", *fields: tuple[bytes, bytes], unknown: str = "") -> dict[str, Any]:
    endpoint, got = declared(unknown)
    asyncio.run(endpoint.respond(request(path, query, *fields)))
    return got


def test_parameters_have_the_types_of_their_annotations() -> None:
    """From path, query and fields; what is absent has its default."""
    assert read() == {"number": 7, "colour": None, "tags": ""}
    lines = ((b"x-tags", b"a"), (b"x-tags", b"b"))
    assert read("color=red", "8", *lines) == {"number": 8, "colour": "red", "tags": "a, b"}


def test_the_first_of_several_values_counts() -> None:
    assert read("color=red&color=blue")["colour"] == "red"


def test_the_text_null_is_a_value_and_not_an_absent_parameter() -> None:
    assert read("color=null")["colour"] == "null"


@pytest.mark.parametrize(
    ("query", "path", "name"), [("", "x", "not-found"), ("", "7.5", "not-found"), ("color=blue", "7", "unknown-view")]
)
def test_a_value_of_another_type_is_answered_with_the_error_of_its_parameter(query: str, path: str, name: str) -> None:
    with pytest.raises(ProblemError, match=name):
        read(query, path)


@pytest.mark.parametrize("query", ["colour=red", "color=red&color=red", "color=red&x="])
def test_an_endpoint_may_refuse_what_it_does_not_declare(query: str) -> None:
    """Or pass it over, which is the rule."""
    with pytest.raises(ProblemError, match="unknown-purpose"):
        read(query, unknown="unknown-purpose")
    assert read(query)["number"] == 7


@given(st.lists(st.tuples(st.sampled_from(["color", "x", ""]), st.text(max_size=5))))
def test_any_query_is_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    """And never fails in another way."""
    query = str(QueryParams(pairs))
    colours = [value for name, value in pairs if name == "color"]
    if colours and colours[0] not in {"red", "null"}:
        with pytest.raises(ProblemError, match="unknown-view"):
            read(query)
    else:
        assert read(query)["colour"] == (colours[0] if colours else None)


def test_the_docstring_is_the_description() -> None:
    endpoint, _ = declared()
    assert (endpoint.summary, endpoint.about) == ("Get a thing", "Any thing.")


def test_an_argument_that_says_nothing_of_where_it_comes_from_is_a_mistake() -> None:
    async def handler(_request: Request, number: int) -> Response:
        return Response(b"%d" % number)

    with pytest.raises(TypeError, match="number"):
        parameters_of(handler)
