"""README.md as a newcomer follows it: what it shows is what is printed today, and each of its commands works.

Where a sample is stale, the assertion shows what is printed now. Figures, ports and paths may differ.
"""

import http.client
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orders.embedded import Silent
from orders.embedded.jars import pinned, provide
from orders.errors import StartError
from support.services import open_folder
from support.system import ROOT, System, calls, like_a_clone, orders, running, typed
from support.waiting import wait_for

pytestmark = pytest.mark.system  # takes long


def blocks(page: str) -> list[tuple[str, str]]:
    """The blocks of code by their language, which what is printed has none of."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def printed(page: str) -> list[str]:
    """A first start, and the answers to the two calls; what is drawn is left out."""
    return [text for language, text in blocks(page) if not language and "──►" not in text]


def commands_of(page: str) -> list[str]:
    """The lines of the longest list of commands."""
    lines = max((text.splitlines() for language, text in blocks(page) if language == "sh"), key=len)
    return [re.sub(r"\s+# .*", "", line) for line in lines]


def shape(line: str) -> str:
    """A line without its figures and paths."""
    return re.sub(r"\d+(?:\.\d+)?", "N", re.sub(r"(?<= )/\S+", "PATH", line.strip()))


def is_step(line: str) -> bool:
    return re.match(r" *[\d.]+ s  ", line) is not None


@pytest.fixture(scope="module")
def newcomer() -> Iterator[System]:
    """A first start, with services of its own and an empty data directory."""
    with open_folder() as folder, running(folder / "data") as system:
        yield system


def test_a_first_start_prints_what_the_readme_shows(newcomer: System) -> None:
    """PostgreSQL and Kafka start side by side, so the steps may come in another order; what follows them may not.

    Takes over 10 s: a start of PostgreSQL and Kafka.
    """
    shown = printed("README.md")[0].splitlines()
    said = [line for line in newcomer.said.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT|curl ", line)]
    apart = {line for line in shown if "fetching" in line}  # another test has it: here the jars are there
    assert sorted(shape(line) for line in shown if is_step(line) and line not in apart) == sorted(
        shape(line) for line in said if is_step(line) and "fetching" not in line
    )
    ready = next(at for at, line in enumerate(shown) if line.endswith("  ready"))
    after = [shape(line) for line in said[said.index("") :] if line]
    assert [shape(line) for line in shown[ready + 1 :] if line] == after


def test_the_readme_shows_what_the_first_start_installs_and_downloads(tmp_path: Path) -> None:
    """The lines that only it has: those of the Python packages, and that of Kafka's jars with their number and size."""
    shown = printed("README.md")[0].splitlines()
    told: list[str] = []

    class Heard(Silent):
        def step(self, text: str) -> None:
            told.append(text)

    def fetcher(*_: object) -> None:
        raise StartError("nothing is fetched here")

    with pytest.raises(StartError):
        provide(pinned(), tmp_path / "repository", Heard(), lambda: fetcher)
    (line,) = told
    assert [re.sub(r" *[\d.]+ s  |/\S+", "", each) for each in shown if "fetching" in each] == [
        line.replace(str(tmp_path / "repository"), "")
    ]
    script = (ROOT / "tools/environment.py").read_text()
    assert shown[0] == "Installing Python packages into .venv"
    assert re.fullmatch(r"Installed Python packages into \.venv, \d+ s", shown[1])
    assert all(f'"{each}' in script for each in (shown[0], "Installed Python packages into .venv, {"))


def test_each_call_and_command_of_the_readme_works_on_a_system_that_was_just_started(newcomer: System) -> None:
    """In its order: nothing needs what a newcomer does not have.

    Takes over 10 s: twenty commands, and the start.
    """
    call_twice(newcomer)
    lines = commands_of("README.md")
    assert len(lines) > 15
    with like_a_clone() as folder:
        for line in lines:
            if "dead-letters" in line:
                wait_for(lambda: orders(newcomer.data, "dead-letters", "list", "--json").stdout, "a dead letter", 20)
            typed(folder, newcomer.data, ["bash", "-c", line])


def call_twice(newcomer: System) -> None:
    """The two calls are answered with the status and body that are shown; the rest of an order is left out there."""
    (text,) = (text for language, text in blocks("README.md") if language == "sh" and "curl -i" in text)
    post, get = calls(text)
    assert (post[2], get[2]) == (
        "http://127.0.0.1:8080/orders",
        "http://127.0.0.1:8080/orders/b563feg7bdg3286ttjr67siej",
    )
    body = post[post.index("-d") + 1].encode()
    got = [asked(newcomer, "POST", post[2], body), asked(newcomer, "GET", get[2])]
    shown = printed("README.md")[1].strip().split("\n\n")
    for answer, sample in zip(got, shown, strict=True):
        begin, _, end = sample.partition("…")
        assert answer.startswith(begin), answer
        assert answer.endswith(end), answer
    assert asked(newcomer, "POST", post[2], body).startswith("HTTP/1.1 200 OK\n")
    other = body.replace(b'"WBIL"', b'"OTHER"')
    assert asked(newcomer, "POST", post[2], other).startswith("HTTP/1.1 409 ")


def asked(system: System, method: str, url: str, body: bytes | None = None) -> str:
    """An answer as curl shows it, without its fields."""
    connection = http.client.HTTPConnection(*system.address, timeout=30)
    connection.request(method, url.removeprefix("http://127.0.0.1:8080"), body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    told = f"HTTP/1.1 {answer.status} {answer.reason}\n{answer.read().decode()}"
    connection.close()
    return told


def test_both_languages_show_the_same() -> None:
    """The same samples, and the same commands but for what is said about them."""
    assert printed("README.md") == printed("README.ru.md")
    assert commands_of("README.md") == commands_of("README.ru.md")


@pytest.mark.parametrize("page", ["README.md", "README.ru.md"])
def test_what_the_readme_links_to_is_there(page: str) -> None:
    """Files, and headings in them."""
    for target, heading in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", (ROOT / page).read_text()):
        file = ROOT / (target or page)
        assert file.exists(), target
        if heading:
            found = re.findall(r"(?m)^#+ (.*)$", file.read_text())
            assert heading in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in found}, heading
