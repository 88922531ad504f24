"""What may be shown of secrets."""

import re
from urllib.parse import unquote

HIDDEN = "(hidden)"

_URL = ("postgresql://", "postgres://")
_USERINFO = re.compile(r"(://[^:@/?]*):.*@", re.DOTALL)
_CONFIDENTIAL = r"\w*(?:password|secret)|scram_\w+_key"
_PARAMETER = re.compile(_CONFIDENTIAL, re.IGNORECASE)
_TEXT = r"(?:'(?:[^'\\]|\\.)*'?|(?:[^\s\\]|\\.)*)"
_KEYWORD = re.compile(rf"\b(?:{_CONFIDENTIAL})\s*=\s*{_TEXT}\s*", re.DOTALL | re.IGNORECASE)


def without_password(dsn: str) -> str:
    """A libpq connection string or URL as it may be shown: without any password. It may hide more, never less."""
    if not dsn.startswith(_URL):
        return _KEYWORD.sub("", dsn).strip()
    address, _, query = _USERINFO.sub(r"\1@", dsn).partition("?")
    kept = [part for part in query.split("&") if part and not _PARAMETER.match(unquote(part))]
    return f"{address}?{'&'.join(kept)}" if kept else address


def plain(text: str) -> str:
    """Text with nothing that breaks a line or moves a terminal's cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
