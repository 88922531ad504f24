"""The pages that are made from the code are what the code says, and their examples work."""

import ast
import inspect
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from orders.decoder import decode
from orders.libraries import fields_of
from orders.logs import LEVELS, STABLE, SUPPRESSED
from orders.record import Invalid
from orders.settings import load
from orders.violations import faults
from tools import docs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return docs.pages()


@pytest.mark.parametrize("name", ["settings.md", "metrics.md", "commands.md", "problems.md"])
def test_a_page_that_is_made_from_the_code_is_up_to_date(pages: dict[str, str], name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == pages[name], "run `python -m tools.docs`"


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


def without_empty(value: Any) -> Any:
    """As a producer writes it that leaves out empty fields (`omitempty`)."""
    if isinstance(value, dict):
        return {name: without_empty(each) for name, each in value.items() if each not in ("", 0, None)}
    return [without_empty(each) for each in value] if isinstance(value, list) else value


def test_what_the_page_says_of_an_order_without_its_empty_fields_is_so() -> None:
    """The fields that the sample order lacks then, and the reason of one alone."""
    text = (ROOT / "docs/order.md").read_text()
    sample = json.loads((ROOT / "src/orders/original.json").read_bytes())
    body = json.dumps(without_empty(sample)).encode()
    verdict = decode(body)
    assert isinstance(verdict, Invalid)
    missing = [each.reason.split("`")[1] for each in faults(body, verdict)]
    assert sorted(missing) == ["custom_fee", "internal_signature", "request_id"]
    assert all(f"`{name}`" in text for name in missing)
    del sample["payment"]["custom_fee"]
    alone = decode(json.dumps(sample).encode())
    assert isinstance(alone, Invalid)
    assert f"``{alone.reason} `` at\n  `{alone.path}`" in text


@pytest.mark.skipif(not shutil.which("node"), reason="node is missing")
def test_what_the_page_says_of_javascript_is_so() -> None:
    """It rounds what Python does not; and its way around it keeps the digits, where JavaScript has it."""
    blocks = re.findall(r"```js\n(.*?)```", (ROOT / "docs/order.md").read_text(), re.DOTALL)
    rounds, keeps = (inspect.cleandoc(block) for block in blocks)
    call, shown = rounds.strip().split("   // ")
    digits = call.split(":")[1].split("}")[0]
    script = f"""
    console.log({call});
    const text = '{{"a":{digits},"b":"{digits}","c":1,"d":[-{digits}],"e":1.5}}';
    if (JSON.rawJSON) {{ {keeps}; console.log(body === text); }} else console.log(true);
    """
    done = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [shown, "true"]
    assert json.loads(digits) != json.loads(shown)


METHODS = (*LEVELS, "exception", "critical", "warn", "fatal", "msg", "log", "bind")


class Line(NamedTuple):
    """A call that logs: its level, and the names of its fields."""

    level: str
    fields: frozenset[str]


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the source of a method of `log`, with the method."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and ast.unparse(called.value) == "log" and called.attr in METHODS:
                yield called.attr, cast("ast.Call", node)


def logged() -> dict[str, Line]:
    """Every action in the source."""
    found: dict[str, Line] = {}
    for level, call in calls():
        action = call.args[0]
        assert isinstance(action, ast.Constant), f"an action is a word, not made up: {ast.unparse(call)}"
        fields = frozenset("exception" if each.arg == "exc_info" else str(each.arg) for each in call.keywords)
        line = Line(level, fields)
        assert found.setdefault(str(action.value), line) == line, "one action has one level and the same fields"
    return found


def told_of_logs() -> dict[str, Line]:
    """The actions on the page, by its tables."""
    rows = re.findall(r"(?m)^\| `([a-z_]+)` \| ([a-z ]+) \|([^|]*)\| [^|]+ \|$", (ROOT / "docs/logs.md").read_text())
    return {action: Line(level, frozenset(re.findall(r"`(\w+)`", fields))) for action, level, fields in rows}


def test_the_page_of_logs_has_every_action_with_its_level_and_fields() -> None:
    """And none that is not in the source. Lines of floods and of libraries have no level of their own."""
    told = told_of_logs()
    floods = told.pop(SUPPRESSED)
    assert floods.fields == {"of", "reason", "lines", "seconds"}
    kafka, fields = fields_of("librdkafka", "%s [%s] %s", ("FAIL", "client", "refused"))
    assert told.pop(kafka).fields == fields.keys()
    other, fields = fields_of("other", "text", ())
    assert told.pop(other).fields == fields.keys() | {"exception"}
    assert told == logged()


def test_a_logger_is_always_called_log() -> None:
    """So that the page's test finds all of them, but for the lines of floods and of libraries."""
    others = {"logs.py", "libraries.py"}
    sources = {path: path.read_text() for path in (ROOT / "src").rglob("*.py") if path.name not in others}
    made = [line for text in sources.values() for line in text.splitlines() if "get_logger" in line]
    assert set(made) == {"log = structlog.get_logger()"}


def test_the_keys_of_logs_are_reported_in_their_order() -> None:
    text = (ROOT / "docs/logs.md").read_text()
    table = text.partition("| key | what | there |")[2].partition("\n\n")[0]
    assert tuple(re.findall(r"(?m)^\| `(\w+)` \|", table)) == STABLE


def test_the_example_of_a_log_line_is_one() -> None:
    (example,) = re.findall(r"```json\n(.*)\n```", (ROOT / "docs/logs.md").read_text())
    keys = [key for key in STABLE if key != "trace_id"]
    assert list(json.loads(example)) == [*keys, "kind"]


def test_the_tests_that_reliability_names_are_there() -> None:
    """`…` stands for the file that was named last."""
    file = ""
    for named, name in re.findall(
        r"`((?:tests/[\w/]+\.py)|…)(?:::(\w+))?`", (ROOT / "docs/reliability.md").read_text()
    ):
        file = file if named == "…" else named
        assert f"def {name}" in (ROOT / file).read_text(), f"{file} has no {name}"


def test_each_link_of_the_glossary_leads_to_a_file_and_to_a_heading_in_it() -> None:
    for page, anchor in re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", (ROOT / "docs/glossary.md").read_text()):
        text = (ROOT / "docs" / page).read_text()
        heads = re.findall(r"(?m)^#+ (.*)$", text)
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, page
