"""HTML as a parser sees it, and what is wrong with it."""

from html.parser import HTMLParser

VOID = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "wbr"})
PHRASING = frozenset({"a", "abbr", "b", "code", "em", "kbd", "small", "span", "strong", "sub", "sup", "time", "var"})
INSIDE = {
    "html": frozenset({"head", "body"}),
    "dl": frozenset({"dt", "dd", "div"}),
    "ul": frozenset({"li"}),
    "ol": frozenset({"li"}),
    **dict.fromkeys(("p", "pre", "summary", "h1", "h2", "h3", *PHRASING - {"a"}), PHRASING),
}
"""What may stand directly in an element, where that is bounded."""

Attributes = dict[str, str | None]


class Html(HTMLParser):
    """A text: its elements in their order, its words, the content of each `style`, and what is `wrong`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Attributes]] = []
        self.words = ""
        self.styles: list[str] = []
        self.wrong: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.wrong += [f"<{tag}> is left open" for tag in self._open]
        ids = [each["id"] for _, each in self.elements if "id" in each]
        self.wrong += [f"id {each} occurs twice" for each in {each for each in ids if ids.count(each) > 1}]

    @property
    def tags(self) -> list[str]:
        """Names of the elements."""
        return [tag for tag, _ in self.elements]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._open and tag not in INSIDE.get(self._open[-1], {tag}):
            self.wrong.append(f"<{tag}> stands in <{self._open[-1]}>")
        if len(dict(attrs)) < len(attrs):
            self.wrong.append(f"<{tag}> has an attribute twice")
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "style":
            self.styles.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.wrong.append(f"<{tag}/> is XML")
        super().handle_startendtag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._open[-1:] == [tag]:
            self._open.pop()
        else:
            self.wrong.append(f"</{tag}> closes <{'> <'.join(self._open)}>")

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            self.styles[-1] += data
        else:
            self.words += data
