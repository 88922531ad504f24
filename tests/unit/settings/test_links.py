"""Service links: what Kubernetes puts into a container's environment is not a setting of ours."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.errors import UsageError
from orders.settings import load
from orders.settings.links import service_links

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
SERVICES = st.one_of(
    st.sampled_from(["orders", "orders-http", "orders-kafka", "orders-postgres", "orders-service", "orders-home"]),
    st.from_regex(r"orders-[a-z0-9-]{0,12}[a-z0-9]", fullmatch=True),
)
PORTS = st.lists(
    st.tuples(LABELS, st.integers(1, 65535), st.sampled_from(["TCP", "UDP", "SCTP"])),
    min_size=1,
    max_size=3,
    unique_by=(lambda port: port[0], lambda port: port[1:]),
)
ADDRESSES = st.sampled_from(["10.96.0.12", "fd00:10:96::c"])


def links(service: str, address: str, ports: Sequence[tuple[str, int, str]], *, named: bool) -> dict[str, str]:
    """The variables for a Service, as the kubelet makes them."""
    prefix, host = upper(service), f"[{address}]" if ":" in address else address
    _, first, protocol = ports[0]
    found = {
        f"{prefix}_SERVICE_HOST": address,
        f"{prefix}_SERVICE_PORT": str(first),
        f"{prefix}_PORT": f"{protocol.lower()}://{host}:{first}",
    }
    for name, number, kind in ports:
        port = f"{prefix}_PORT_{number}_{kind}"
        found |= {f"{prefix}_SERVICE_PORT_{upper(name)}": str(number)} if named or len(ports) > 1 else {}
        found |= {port: f"{kind.lower()}://{host}:{number}", f"{port}_PROTO": kind.lower()}
        found |= {f"{port}_PORT": str(number), f"{port}_ADDR": address}
    return found


def upper(label: str) -> str:
    return label.upper().replace("-", "_")


@given(st.lists(SERVICES, min_size=1, max_size=3), ADDRESSES, PORTS, st.booleans())
def test_service_links_change_nothing(
    services: list[str], address: str, ports: list[tuple[str, int, str]], named: bool
) -> None:
    found: dict[str, str] = {}
    for service in services:
        found |= links(service, address, ports, named=named)
    assert service_links(found) == found.keys()
    ours = {"ORDERS_KAFKA_TOPIC": "ours", "ORDERS_KAFKA_SASL_USERNAME": "us"}
    assert load(found) == load({})
    assert load(found | ours) == load(ours)


def test_what_a_user_gives_under_the_name_of_a_link_is_ours() -> None:
    # The kubelet leaves a variable alone that the container sets itself.
    found = links("orders-http", "10.0.0.1", [("http", 80, "TCP")], named=True)
    assert "ORDERS_HTTP_PORT" in found
    assert load(found).http_port == 8080
    assert load(found | {"ORDERS_HTTP_PORT": "9000"}).http_port == 9000


@pytest.mark.parametrize("lacking", ["ORDERS_KAFKA_SERVICE_HOST", "ORDERS_KAFKA_SERVICE_PORT"])
def test_links_are_recognised_as_a_set_only(lacking: str) -> None:
    found = links("orders-kafka", "10.0.0.1", [("kafka", 9092, "TCP")], named=False)
    del found[lacking]
    with pytest.raises(UsageError, match="ORDERS_KAFKA_PORT_9092_TCP_ADDR"):
        load(found)


def test_a_variable_that_only_begins_like_a_link_is_refused() -> None:
    found = links("orders", "10.0.0.1", [("http", 80, "TCP")], named=True)
    for name, value in (("ORDERS_SERVICE_PORTS", "80"), ("ORDERS_PORT_80_TCP_NAME", "x"), ("ORDERS_PORT", "80")):
        with pytest.raises(UsageError, match=f"^{name} is not a setting|^{name} \\(did you mean"):
            load(found | {name: value})
