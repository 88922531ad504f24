"""The metrics, for Prometheus."""

from orders.api.answers import TEXT, Response
from orders.api.endpoint import Request, Resource, Returns

resource = Resource()


@resource.get("/metrics", {200: Returns("All metrics, in the format that `Accept` asks for", media=TEXT)})
async def get_metrics(request: Request) -> Response:
    """Get the metrics of this machine, for Prometheus.

    Any process returns what all processes of the machine counted: scrape one address, not each process.
    """
    body, content_type = await request.dependencies.metrics(request.headers.get("accept", ""))
    return Response(body, fields={"content-type": content_type})
