"""What an orchestrator or a load balancer asks a process: is it alive, started, ready."""

from typing import Annotated

from orders.api import examples
from orders.api.answers import Response, answer
from orders.api.endpoint import Query, Request, Resource, Returns
from orders.api.health import Purpose
from orders.http.problems import RETRY
from orders.readiness import Alive, ReadinessReport, StartupReport

RETRIED = ("Retry-After",)

resource = Resource()


def verdict(report: ReadinessReport | StartupReport, *, is_well: bool) -> Response:
    """200, or 503 with when to ask again."""
    return answer(200, report) if is_well else answer(503, report, RETRY)


@resource.get("/livez", {200: Returns("The process is alive", [Alive], examples={"alive": examples.alive})})
async def get_livez(_request: Request) -> Response:
    """Ask whether the process is alive.

    It asks neither PostgreSQL nor Kafka. Restart the process where nothing comes back within seconds.
    """
    return answer(200, Alive(alive=True))


@resource.get(
    "/readyz",
    {
        200: Returns("Send requests here", [ReadinessReport], examples={"ready": examples.ready}),
        503: Returns(
            "Send requests elsewhere. `reason` of each part that is not `ok` says what is wrong, and what to do",
            [ReadinessReport],
            fields=RETRIED,
            examples={"not ready": examples.not_ready},
        ),
    },
    problems=("unknown-purpose",),
    unknown="unknown-purpose",
)
async def get_readyz(
    request: Request,
    purpose: Annotated[
        Purpose,
        Query(
            "What for: `reading` needs memory or PostgreSQL, `writing` needs every part",
            invalid="unknown-purpose",
            name="for",
        ),
    ] = "reading",
) -> Response:
    """Ask whether the service is ready, and why not.

    `?for=reading`, the default, is for a load balancer of GETs; `?for=writing` for one of POSTs, and for scripts that
    wait until everything works.
    """
    report = await request.dependencies.health(purpose)
    return verdict(report, is_well=report.ready)


@resource.get(
    "/startupz",
    {
        200: Returns("The start is over; from then on always", [StartupReport], examples={"started": examples.started}),
        503: Returns(
            "The process is still starting; each part says what it waits for",
            [StartupReport],
            fields=RETRIED,
            examples={"starting": examples.starting},
        ),
    },
)
async def get_startupz(request: Request) -> Response:
    """Ask whether this process has started.

    It has once PostgreSQL has answered and the restore of memory has begun. A full memory is for `/readyz`.
    """
    start = await request.dependencies.startup()
    return verdict(start, is_well=start.started)
