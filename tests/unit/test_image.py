"""What the image is made of: its requirements, what goes into the build, what the Dockerfile says."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from orders.http.hosts import knows
from orders.settings import loading
from orders.system.shutdown import STOP_SECONDS
from support.dockerfile import argument, instructions, variables
from support.system import ROOT

SECRETS = ROOT / "deploy" / "secrets"


def locked(kind: str) -> dict[str, str]:
    """Each pinned package with its line and hashes."""
    text = (ROOT / "requirements" / f"{kind}.txt").read_text()
    return {block.split("==")[0]: block for block in re.split(r"\n(?=\S)", text.strip())}


def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def test_the_image_has_the_packages_that_the_tests_run_with_but_those_of_embedded_services() -> None:
    image, run = locked("image"), locked("run")
    assert image == {name: run[name] for name in image}
    extra = {re.split(r"[<>=]", each)[0] for each in project()["optional-dependencies"]["embedded"]}
    assert extra <= set(run)
    assert not extra & set(image)
    wanted = {re.split(r"[\[<>=]", each)[0] for each in project()["dependencies"]}
    assert wanted <= set(image)


@pytest.mark.parametrize("kind", ["image", "build", "system"])
def test_every_package_is_pinned_by_its_hash(kind: str) -> None:
    assert all("--hash=sha256:" in block for block in locked(kind).values())


def test_nothing_goes_into_the_build_but_what_the_dockerfile_copies() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert lines[-1] == "**/__pycache__"
    let_in = {line.removeprefix("!") for line in lines[1:-1]}
    assert all(line.startswith("!") for line in lines[1:-1])
    copied = {
        word
        for keyword, rest in instructions()
        if keyword == "COPY" and not rest.startswith("--from")
        for word in rest.split()[:-1]
    }
    assert {each.replace("src/orders", "src") for each in let_in} == copied
    assert all((ROOT / each).exists() for each in let_in)


def test_both_stages_stand_on_the_base_that_is_given() -> None:
    stages = [rest for word, rest in instructions() if word == "FROM"]
    assert stages == ["${BASE} AS build", "${BASE}"]
    assert instructions()[0] == ("ARG", "BASE=python:3.13-slim")


def test_the_image_runs_as_a_number_stops_by_sigterm_and_asks_whether_it_lives() -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", argument("USER"))
    assert argument("STOPSIGNAL") == "SIGTERM"
    assert json.loads(argument("ENTRYPOINT")) == ["orders"]
    assert json.loads(argument("HEALTHCHECK").partition("CMD ")[2]) == ["orders", "health", "--live"]
    assert all(
        f'image.{each}="${{{each.upper()}}}"' in argument("LABEL") for each in ("version", "revision", "created")
    )


def test_the_variables_of_the_image_are_settings(tmp_path: Path) -> None:
    settings = loading.load({**variables(), "ORDERS_HOME": str(tmp_path)})
    assert settings.http_host == "0.0.0.0"  # noqa: S104 - inside of a container
    assert settings.data_dir == "/var/lib/orders"
    assert f"mkdir {variables()['ORDERS_HOME']}" in dict(last for last in instructions() if "useradd" in last[1])["RUN"]


def test_the_service_of_compose_answers_to_every_name_that_it_has_among_the_containers() -> None:
    """The name of each service that runs it, their common alias, and the proxy's, through which Host goes unchanged."""
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    replicas = {name: each for name, each in compose["services"].items() if "ORDERS_HTTP_HOSTS" in str(each)}
    assert set(replicas) == {"orders", "orders-2", "orders-zookeeper"}
    for each in replicas.values():
        known = knows(loading.load(each["environment"] | {"ORDERS_POSTGRES_DSN_FILE": ""}).hosts)
        for name in (*replicas, *each["networks"]["default"]["aliases"], "proxy"):
            assert known(f"{name}:8080".encode()), name


def test_the_pods_of_the_kubernetes_example_answer_to_the_names_of_their_service() -> None:
    """In each form that a cluster resolves, and to the Ingress's; the settings of the example are settings."""
    (example,) = re.findall(r"```yaml\n(spec:.*?)```", (ROOT / "docs/containers.md").read_text(), re.DOTALL)
    (container,) = yaml.safe_load(example)["spec"]["containers"]
    given = {each["name"]: each["value"] for each in container["env"]}
    known = knows(loading.load({**given, "ORDERS_POSTGRES_DSN_FILE": ""}).hosts)
    for name in ("orders", "orders.shop", "orders.shop.svc", "orders.shop.svc.cluster.local", "orders.example.org"):
        assert known(name.encode()), name
    assert not known(b"evil.example")


def test_compose_gives_the_service_more_time_to_stop_than_it_takes() -> None:
    given = re.findall(r"stop_grace_period: (\d+)s  # it ends", (ROOT / "compose.yaml").read_text())
    assert [int(each) > STOP_SECONDS for each in given] == [True]


def test_both_connection_strings_hold_the_password_of_the_role() -> None:
    password = (SECRETS / "orders_password").read_text().strip()
    for name in ("orders", "orders_zookeeper"):
        url = urlsplit((SECRETS / f"{name}_dsn").read_text().strip())
        assert (url.username, unquote(url.password or "")) == ("orders", password)
        assert (url.hostname, url.path) == ("postgres", f"/{name}")


@pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
def test_up_says_what_is_missing_where_docker_is_not(tmp_path: Path) -> None:
    for name in ("sh", "make"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        ["make", "up"], cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode != 0
    assert "docker is not installed" in done.stderr
