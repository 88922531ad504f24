"""The pages that are made from the code are what the code says, and their examples work."""

import re
import runpy
from pathlib import Path
from typing import cast

import pytest

from orders.settings import load

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return cast("dict[str, str]", runpy.run_path(str(ROOT / "tools/docs.py"))["pages"]())


@pytest.mark.parametrize("name", ["settings.md", "metrics.md", "commands.md"])
def test_a_page_that_is_made_from_the_code_is_up_to_date(pages: dict[str, str], name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == pages[name], "run `python tools/docs.py`"


def test_the_examples_of_settings_are_accepted(pages: dict[str, str], tmp_path: Path) -> None:
    blocks = dict(re.findall(r"```(toml|sh)\n(.*?)```", pages["settings.md"], re.DOTALL))
    exported = dict(re.findall(r"export (\w+)=(\S+)", blocks["sh"]))
    (tmp_path / "secrets").mkdir()
    for name in ("postgres", "kafka"):
        (tmp_path / "secrets" / name).write_text("secret\n")
    (tmp_path / "orders.toml").write_text(blocks["toml"])
    file = {"ORDERS_KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "secrets/kafka"), "ORDERS_HOME": str(tmp_path)}
    settings = load(exported | file)
    assert settings.postgres_dsn == settings.kafka_properties["sasl.password"] == "secret"
    assert settings.kafka_properties["ssl.ca.location"] == exported["ORDERS_KAFKA_SSL_CA_LOCATION"]
    assert settings.http_port == 9000


def test_the_logins_of_security_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame\n")
    blocks = re.findall(r"```sh\n(export ORDERS_KAFKA.*?)```", (ROOT / "docs/security.md").read_text(), re.DOTALL)
    given = [dict(re.findall(r"export (\w+)=(\S+)", block)) for block in blocks]
    secrets = [{name: str(tmp_path / "secret") for name in each if name.endswith("_FILE")} for each in given]
    by_password, by_certificate = (
        load({**each, **files, "ORDERS_HOME": str(tmp_path)}).kafka_properties
        for each, files in zip(given, secrets, strict=True)
    )
    assert (by_password["security.protocol"], by_password["sasl.password"]) == ("sasl_ssl", "sesame")
    assert (by_certificate["security.protocol"], by_certificate["ssl.key.location"]) == (
        "ssl",
        "/run/secrets/orders.key",
    )
