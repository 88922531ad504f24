"""Every page is valid HTML that its policy allows, and no text becomes markup."""

import hashlib
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import Template, UndefinedError
from starlette.testclient import TestClient

from orders.api.reference import docs_page
from orders.http.problems import KINDS
from orders.pages.rendering import ENVIRONMENT, TEMPLATES, marked, render
from orders.pages.start import page_at, problem_page
from support.markup import Html
from support.system import ROOT
from support.wire import plain_app

PAGES = ["/", "/docs", *(f"/problems/{name}" for name in KINDS)]
LAYOUT = "base.html"
FOLDER = ROOT / "src" / "orders" / "pages" / "templates"
TEXTS = st.text(st.one_of(st.sampled_from("`<>&\"'=/;#{}%\n"), st.characters(exclude_categories=["Cs"])))


@pytest.fixture(scope="module")
def http() -> Iterator[TestClient]:
    with TestClient(plain_app()) as made:
        yield made


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_valid_html(http: TestClient, path: str) -> None:
    """It says its language and its title, has one headline, and each element is closed where it may stand."""
    text = http.get(path).text
    html = Html(text)
    assert text.startswith("<!doctype html>\n")
    assert html.elements[0] == ("html", {"lang": "en"})
    assert [html.tags.count(tag) for tag in ("head", "title", "body", "main", "h1")] == [1] * 5
    assert html.wrong == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_nothing_that_its_policy_forbids(http: TestClient, path: str) -> None:
    """One stylesheet, which the policy knows by its hash; no script, no style of an element, nothing from elsewhere."""
    got = http.get(path)
    html = Html(got.text)
    (style,) = html.styles
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert got.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert got.headers["x-content-type-options"] == "nosniff"
    assert not {"script", "iframe", "object", "embed", "base", "form", "img"} & set(html.tags)
    attributes = [(name, value) for _, each in html.elements for name, value in each.items()]
    assert [name for name, _ in attributes if name in {"style", "src", "srcset"} or name.startswith("on")] == []
    targets = {str(value) for name, value in attributes if name == "href"}
    assert {each for each in targets if not re.match("/(?!/)", each)} == {"data:,"}
    assert not re.search(r"@import|url\(", style)


def test_every_template_extends_the_layout_and_is_rendered_by_a_page(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a name that its data lacks fails here, and no template is left over."""
    rendered: set[str | None] = set()
    whole = Template.render

    def recording(template: Template, *given: Any, **data: Any) -> str:
        rendered.add(template.name)
        return whole(template, *given, **data)

    monkeypatch.setattr(Template, "render", recording)
    for cached in (page_at, problem_page, docs_page):
        cached.cache_clear()
    for path in PAGES:
        assert http.get(path).status_code == 200
    assert rendered == TEMPLATES.keys() - {LAYOUT}
    for name in rendered:
        assert (FOLDER / str(name)).read_text().startswith(f'{{% extends "{LAYOUT}" %}}\n')


@pytest.mark.parametrize("source", ["{{ nobody }}", "{{ kind.nobody }}", "{% for each in nobody %}{% endfor %}"])
def test_a_name_that_the_data_lacks_is_an_error(source: str) -> None:
    """Jinja2 alone would leave it empty."""
    with pytest.raises(UndefinedError, match="nobody"):
        ENVIRONMENT.from_string(source).render(kind=KINDS["not-found"])


def test_a_page_does_not_go_out_with_half_of_its_data() -> None:
    with pytest.raises(UndefinedError, match="kind"):
        render("problem.html", name="not-found")


@given(TEXTS)
def test_whatever_is_put_in_is_text(text: str) -> None:
    """In an element and in an attribute."""
    html = Html(ENVIRONMENT.from_string('<p title="{{ text }}">{{ text }}</p>').render(text=text))
    assert (html.elements, html.words, html.wrong) == ([("p", {"title": text})], text, [])


@given(TEXTS)
@example("`<b>` and `&amp;`")
@example("`a` `b")
@example("```")
def test_words_in_backquotes_are_code_and_nothing_else_is_markup(text: str) -> None:
    """Backquotes in pairs go, one that is left over stays, and every other character stands as it was."""
    html = Html(ENVIRONMENT.from_string("{{ text | marked }}").render(text=text))
    code = re.compile("`([^`]*)`")
    assert html.elements == [("code", {})] * len(code.findall(text))
    assert (html.words, html.wrong) == (code.sub(r"\1", text), [])
    assert re.findall("<code>(.*?)</code>", marked(text), re.DOTALL) == [marked(each) for each in code.findall(text)]


def test_only_serve_processes_load_the_templates() -> None:
    """A command, an ingest and the keeper start without."""
    others = ("commands.cli", "commands.status", "doctor.examine", "ingest.run", "memory.keeper", "processes")
    imports = "".join(f"import orders.{name}\n" for name in (*others, "system.supervisor", "verify.run"))
    code = f"import sys\n{imports}print({{'jinja2', 'markupsafe', 'orders.pages'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "set()\n"
