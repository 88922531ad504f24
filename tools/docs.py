"""Writes the pages under docs/ that are made from the code: settings, metrics, commands, problems.

The prose is in tools/pages; `{{…}}` in it stands for a table. A test says when a page is no longer what the code says.
"""

import inspect
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from orders.api.request_metrics import SERVE_TABLE
from orders.commands import config
from orders.commands.cli import cli
from orders.commands.options import AS_IT_IS, exits
from orders.http.problems import KINDS, PATH
from orders.metrics.kinds import Definition, Histogram
from orders.settings import explain
from orders.settings.file import name_of
from orders.settings.given import keys
from orders.settings.properties import REFUSALS, givable, known
from orders.settings.table import DEFAULTS, SIMPLE, SPECIAL, allowed, option, purpose, variable
from orders.settings.variables import variable_of
from tools.outputs import Form, fields_of, forms_of

ROOT = Path(__file__).parents[1]
DOCS, PAGES = ROOT / "docs", Path(__file__).parent / "pages"
BAR = r"\|"
EXAMPLE = {
    "ORDERS_HOME": "/",
    "ORDERS_HTTP_PORT": "9000",
    "ORDERS_POSTGRES_DSN": "postgresql://orders:secret@db/orders",
    "ORDERS_KAFKA_SASL_PASSWORD": "secret",
}
SHOWN = ("http_host", "data_dir")
"""Settings that the example shows besides those that are set."""
NOTE = "<!-- Written by tools/docs.py from tools/pages/{name} and the code: change those. -->"


def main() -> None:
    for name, text in pages().items():
        (DOCS / name).write_text(text)


def pages() -> dict[str, str]:
    """The pages by their file's name."""
    return {"settings.md": settings(), "metrics.md": measures(), "commands.md": commands(), "problems.md": problems()}


def problems() -> str:
    """Every kind of error that HTTP answers."""
    rows = ([f"`{PATH}{name}`", str(kind.status), kind.title, kind.about] for name, kind in KINDS.items())
    return page("problems.md", problems=table(["type", "status", "title", "what it means"], rows))


def page(name: str, **parts: str) -> str:
    """A page with its parts in place."""
    text = (PAGES / name).read_text()
    text = re.sub(r"\{\{(\w+)\}\}", lambda found: parts.pop(found[1]), text)
    if parts:
        raise SystemExit(f"tools/pages/{name} has no place for {', '.join(parts)}")
    return f"{NOTE.format(name=name)}\n{text}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    found = [row(cells) for cells in rows]
    return "\n".join((row(head), "|" + "---|" * len(head), *found)) if found else ""


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


def code(text: str) -> str:
    return f"`{text}`"


# ---- settings ----


def settings() -> str:
    example = config.text([each for each in explain(EXAMPLE) if each.origin != "default" or each.name in SHOWN])
    secrets = [(key, variable_of(key)) for key in keys(n for n in givable() if not known()[n].alias_of) if key.in_file]
    return page(
        "settings.md",
        example=example,
        special=table(("variable", "what"), ((code(name), about) for name, about in SPECIAL.items())),
        secrets="\n".join(row((code(name_of(key._replace(in_file=False))), code(file))) for key, file in secrets),
        refused="\n".join(row((", ".join(map(code, each.names)), each.why, each.instead)) for each in REFUSALS),
        settings=table(("setting", "variable", "may be", "default", "what"), map(described, SIMPLE)),
        commands=table(("option", "commands"), ((code(option(name)), takers(name)) for name in SIMPLE)),
    )


def described(name: str) -> tuple[str, ...]:
    default = code(str(DEFAULTS[name])) if DEFAULTS[name] != "" else "unset"
    return code(name), code(variable(name)), allowed(name), default, purpose(name)


def takers(name: str) -> str:
    """The commands that have a setting as an option."""
    return ", ".join(code(path) for path, command in walked(cli) if name in settings_of(command))


# ---- metrics ----


def measures() -> str:
    histograms = [each for each in SERVE_TABLE if isinstance(each, Histogram)]
    bounds = ((code(each.name), ", ".join(f"{bound:g}" for bound in each.buckets)) for each in histograms)
    actions = ((code(each.name), linked(each.action)) for each in SERVE_TABLE)
    return page(
        "metrics.md",
        metrics=table(("metric", "kind", "unit", "what", "labels"), map(measure, SERVE_TABLE)),
        actions=table(("metric", "when to look, and what to do"), actions),
        buckets=table(("histogram", "bounds"), bounds),
    )


def measure(metric: Definition) -> tuple[str, ...]:
    labels = "; ".join(label(name, values) for name, values in metric.labels.items())
    return code(metric.name), metric.kind, metric.unit, metric.help, labels


def linked(text: str) -> str:
    """A text in which each alert leads to its section in the runbook."""
    return re.sub(r"\bOrders[A-Z]\w+", lambda found: f"[{found[0]}](runbook.md#{found[0].lower()})", text)


def label(name: str, values: Sequence[str]) -> str:
    """A label, with its values where they are known beforehand."""
    return f"{code(name)}: {', '.join(map(code, values))}" if values else code(name)


# ---- commands ----


def commands() -> str:
    return page("commands.md", commands="\n\n".join(itertools.starmap(told, walked(cli))))


def walked(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its path, in the order of the code."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from walked(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def settings_of(command: click.Command) -> list[str]:
    return [name for name in SIMPLE if any(option(name) in parameter.opts for parameter in command.params)]


def told(path: str, command: click.Command) -> str:
    """The section of a command."""
    context = click.Context(command)
    own = [each for each in command.params if isinstance(each, click.Option) and each.name not in SIMPLE]
    names = ", ".join(code(option(name)) for name in settings_of(command))
    parts = (
        f"## orders {path}",
        fenced(" ".join(["orders", path, *command.collect_usage_pieces(context)])),
        prose(command.help or ""),
        fenced(example(command), "sh"),
        table(("option", "what"), (explained(each, context) for each in own if not each.hidden)),
        f"Settings: {names}." if names else "",
        *map(written, forms_of(command)),
        table(("exit status", "when"), exits(path).items()),
    )
    return "\n\n".join(filter(None, parts))


def written(form: Form) -> str:
    """What a command writes with `--json`."""
    rows = ((code(each.path), each.kind, each.meaning) for each in fields_of(form.model))
    return f"With `--json`: {form.in_words}. {form.about}\n\n{table(('field', 'type', 'what'), rows)}"


def explained(parameter: click.Option, context: click.Context) -> tuple[str, str]:
    names, text = parameter.get_help_record(context) or ("", "")
    return code(names), text


def example(command: click.Command) -> str:
    return (command.epilog or "").partition("\n")[0].removeprefix("Example: ")


def prose(text: str) -> str:
    """The help of a command in Markdown; what click is to leave as it is, becomes a block."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(fenced(each[2:]) if each.startswith(AS_IT_IS) else each for each in paragraphs)


def fenced(text: str, language: str = "") -> str:
    return f"```{language}\n{text}\n```" if text else ""


if __name__ == "__main__":
    main()
