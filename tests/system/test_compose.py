"""compose.yaml as the real Docker Compose reads it, and the files that it hands to its containers."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orders.settings import load
from support.programs import program
from support.system import ROOT

pytestmark = pytest.mark.system

Service = dict[str, Any]

ALWAYS = {"orders", "topic", "postgres", "kafka"}
PROFILES = {
    "zookeeper": {"orders-zookeeper", "topic-zookeeper", "kafka-zookeeper", "zookeeper"},
    "observability": {"prometheus", "grafana"},
    "scale": {"orders-2", "proxy"},
}
ONCE = {"topic", "topic-zookeeper"}
KEPT = {"postgres", "kafka", "kafka-zookeeper", "zookeeper", "prometheus", "grafana"}
"""What has data to keep."""
SECRET = re.compile(r"password|secret|token|dsn|key", re.IGNORECASE)


def compose(*profiles: str) -> dict[str, Any]:
    """The configuration with these profiles."""
    command = [program("docker-compose", "run `tools/environment run dev system`, or `make test-all`")]
    chosen = [word for each in profiles for word in ("--profile", each)]
    done = subprocess.run(
        [*command, "--file", str(ROOT / "compose.yaml"), *chosen, "config", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin:/bin"},  # a developer's own SECRETS_DIR is none of the tests'
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return compose(*PROFILES)


@pytest.fixture(scope="module")
def services(whole: dict[str, Any]) -> dict[str, Service]:
    return dict(whole["services"])


@pytest.mark.parametrize("profiles", [(), *((name,) for name in PROFILES), tuple(PROFILES)], ids="+".join)
def test_each_profile_brings_its_services_and_no_others(profiles: tuple[str, ...]) -> None:
    assert set(compose(*profiles)["services"]) == ALWAYS.union(*(PROFILES[each] for each in profiles))


def test_every_port_is_published_on_this_machine_alone_and_once(services: dict[str, Service]) -> None:
    ports = [port for each in services.values() for port in each.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    published = [port["published"] for port in ports]
    assert len(published) == len(set(published)) == 7
    assert "ports" not in services["postgres"]


def test_every_container_has_a_bound_of_its_memory_and_of_its_log(services: dict[str, Service]) -> None:
    for name, each in services.items():
        assert int(each["mem_limit"]) >= 64 * 2**20, name
        assert each["logging"]["options"]["max-size"], name


def test_what_stays_is_checked_and_what_ends_is_waited_for(services: dict[str, Service]) -> None:
    for name, each in services.items():
        needs = each.get("depends_on", {}).items()
        assert all((need["condition"] == "service_completed_successfully") == (other in ONCE) for other, need in needs)
        assert all(need["condition"] != "service_started" for _, need in needs), name
        if name in ONCE:
            assert each["restart"] == "no"
            assert each["healthcheck"]["disable"]
        else:
            assert each["restart"] == "unless-stopped"
            assert each["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}, name


def test_the_service_starts_on_a_ready_database_and_topic_and_is_ready_when_it_says_so(
    services: dict[str, Service],
) -> None:
    for name in ("orders", "orders-2", "orders-zookeeper"):
        assert set(services[name]["depends_on"]) == {"postgres", "topic-zookeeper" if "zoo" in name else "topic"}
        assert services[name]["healthcheck"]["test"] == ["CMD", "orders", "health"]


def test_no_container_may_gain_rights_and_ours_write_nothing_outside_of_their_tmpfs(
    services: dict[str, Service],
) -> None:
    for name, each in services.items():
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert not each.get("privileged"), name
        assert ("cap_add" in each) == (name == "postgres")
        if each["image"] == "orders:local":
            assert each["read_only"], name
            assert [mount.partition(":")[0] for mount in each["tmpfs"]] == ["/tmp", "/var/lib/orders"]  # noqa: S108 - its own
            assert "volumes" not in each


def test_the_shared_memory_holds_twice_the_budget_and_the_container_holds_both(services: dict[str, Service]) -> None:
    for name in ("orders", "orders-2", "orders-zookeeper"):
        each = services[name]
        settings = load({**each["environment"], "ORDERS_POSTGRES_DSN_FILE": "", "ORDERS_HOME": str(ROOT / "deploy")})
        assert 2 * settings.memory_bytes < int(each["shm_size"]) < int(each["mem_limit"])


def test_data_is_in_a_volume_of_its_own(whole: dict[str, Any], services: dict[str, Service]) -> None:
    volumes = {
        name: [mount["source"] for mount in each.get("volumes", []) if mount["type"] == "volume"]
        for name, each in services.items()
    }
    assert {name for name, kept in volumes.items() if kept} == KEPT == set(whole["volumes"])
    assert all(volumes[name] == [name] for name in KEPT)


def test_secrets_are_files_and_no_variable_holds_one(whole: dict[str, Any], services: dict[str, Service]) -> None:
    for secret in whole["secrets"].values():
        assert Path(secret["file"]).read_text().strip()
    values = {Path(secret["file"]).read_text().strip() for secret in whole["secrets"].values()}
    for name, each in services.items():
        given = {secret["target"] for secret in each.get("secrets", [])}
        for variable, value in (each.get("environment") or {}).items():
            assert not any(secret in value for secret in values), (name, variable)
            if SECRET.search(variable) and not variable.startswith("GF_"):
                assert variable.endswith("_FILE"), (name, variable)
                assert value in given, (name, variable)


def test_every_image_has_a_version(services: dict[str, Service]) -> None:
    for name, each in services.items():
        image, _, tag = each["image"].partition(":")
        assert image, name
        assert tag not in {"", "latest"}, name
        assert ("build" in each) == (each["image"] == "orders:local")


def test_every_file_that_is_mounted_is_there_and_cannot_be_written(services: dict[str, Service]) -> None:
    for name, each in services.items():
        for mount in each.get("volumes", []):
            if mount["type"] == "bind":
                assert Path(mount["source"]).exists(), f"{name}: {mount['source']}"
                assert mount["read_only"], name


def test_every_setting_of_ours_is_one(services: dict[str, Service]) -> None:
    for name, each in services.items():
        ours = {variable: value for variable, value in (each.get("environment") or {}).items() if "ORDERS_" in variable}
        ours.pop("ORDERS_POSTGRES_DSN_FILE", None)  # its path is the container's
        if ours:
            assert load({**ours, "ORDERS_HOME": str(ROOT / "deploy")}).kafka_bootstrap.endswith(":19092"), name


def test_each_service_says_in_a_comment_what_it_is_for() -> None:
    lines = (ROOT / "compose.yaml").read_text().partition("\nservices:\n")[2].partition("\nvolumes:\n")[0].splitlines()
    named = [number for number, line in enumerate(lines) if re.fullmatch(r"  [a-z0-9-]+:", line)]
    assert len(named) == 12
    assert all(lines[number - 1].startswith("  # ") for number in named)
