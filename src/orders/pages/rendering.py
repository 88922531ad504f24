"""HTML from templates: the one door to Jinja2.

Each page is a file in `templates` and extends `base.html`, which has the one stylesheet. All that is put into a page is
escaped, and a name that it is not given is an error. Templates are compiled at import: no request waits for that.
"""

import hashlib
import re
from base64 import b64encode
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

STYLE = files("orders.pages").joinpath("style.css").read_text("utf-8")


def marked(text: str) -> Markup:
    """Text as HTML, words in backquotes as code."""
    # A plain str: in a Markup, re.sub would escape the tags that it puts in.
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped first


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("orders.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    made.filters["marked"] = marked
    made.globals["style"] = Markup(STYLE)  # noqa: S704 - a file of ours
    return made


ENVIRONMENT = _environment()
TEMPLATES = {name: ENVIRONMENT.get_template(name) for name in ENVIRONMENT.list_templates(["html"])}


def render(template: str, /, **data: object) -> bytes:
    """A page in UTF-8. Raises `UndefinedError` where the template uses a name that `data` does not have."""
    return TEMPLATES[template].render(data).encode()


def _policy() -> str:
    """Allows the stylesheet and nothing else, from nowhere else."""
    digest = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    sources = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:"
    return f"{sources}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


PAGE_FIELDS = {"content-security-policy": _policy(), "x-content-type-options": "nosniff"}
"""Fields of every page."""
