"""The start page, and a page for each kind of error."""

from typing import Annotated

from msgspec import Meta

from orders.api.answers import HTML, Response, failure, page
from orders.api.endpoint import Path, Request, Resource, Returns
from orders.http.problems import KINDS, PATH
from orders.pages.start import page_at, problem_page

resource = Resource()


@resource.get("/", {200: Returns("The start page", media=HTML)})
async def get_page(request: Request) -> Response:
    """Read what this service is.

    The page has commands to try it, for the address that it was asked at.
    """
    return page(page_at(request.headers.get("host", "")))


@resource.get(
    PATH + "{name}",
    {200: Returns("The page of this kind of error", media=HTML)},
    problems=("not-found",),
)
async def get_problem(
    _request: Request,
    name: Annotated[
        str,
        Meta(extra_json_schema={"enum": list(KINDS)}),
        Path("Kind of error: the last part of an error's `type`", invalid="not-found"),
    ],
) -> Response:
    """Read what a kind of error means and what to do.

    The `type` of each error is the path of its page.
    """
    return page(problem_page(name)) if name in KINDS else failure("not-found")
