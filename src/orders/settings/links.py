"""The variables that Kubernetes gives every container for each Service of its namespace ("service links").

A Service `orders-http` becomes ORDERS_HTTP_SERVICE_HOST, ORDERS_HTTP_PORT=tcp://10.0.0.1:80 and more: names that
may be those of our settings.
"""

import re
from collections.abc import Iterator, Mapping

_HOST = "_SERVICE_HOST"
_NUMBER = re.compile(r"\d{1,5}", re.ASCII)
_URL = re.compile(r"(tcp|udp|sctp)://.+:\d{1,5}", re.ASCII)
_LINKS = (
    (re.compile(r"_SERVICE_PORT(_[A-Z0-9_]+)?"), _NUMBER),
    (re.compile(r"_PORT(_\d{1,5}_(TCP|UDP|SCTP))?", re.ASCII), _URL),
    (re.compile(r"_PORT_\d{1,5}_(TCP|UDP|SCTP)_PORT", re.ASCII), _NUMBER),
    (re.compile(r"_PORT_\d{1,5}_(TCP|UDP|SCTP)_(PROTO|ADDR)", re.ASCII), re.compile(".+")),
)
"""The rest of a name, after the Service's, and what the value looks like: what a user gave under the name is kept."""


def service_links(environment: Mapping[str, str]) -> frozenset[str]:
    """Names of the variables that are service links. Each Service has at least its host and its port."""
    services = [
        name.removesuffix(_HOST)
        for name in environment
        if name.endswith(_HOST) and name.removesuffix("HOST") + "PORT" in environment
    ]
    return frozenset(name for service in services for name in _links_of(service, environment))


def _links_of(service: str, environment: Mapping[str, str]) -> Iterator[str]:
    yield service + _HOST
    for name, value in environment.items():
        rest = name.removeprefix(service)
        if name.startswith(service) and any(n.fullmatch(rest) and v.fullmatch(value) for n, v in _LINKS):
            yield name
