"""What a person reads where a list or a search is refused, and what is asked over HTTP."""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest

from orders.commands import finding
from orders.errors import StartError, UsageError
from orders.http.problems import problem
from orders.record import Invalid
from orders.settings import Settings

NONE_FOUND = msgspec.json.encode({"orders": [], "next": None, "prev": None})
Answers = Callable[[int, bytes], list[tuple[str, bytes | None]]]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Has every request answered so; what was asked is in the list."""

    def answering(status: int, answer: bytes) -> list[tuple[str, bytes | None]]:
        asked: list[tuple[str, bytes | None]] = []

        def fetch(_: str, path: str, *, body: bytes | None = None) -> tuple[int, bytes]:
            asked.append((path, body))
            return status, answer

        monkeypatch.setattr(finding, "fetch", fetch)
        return asked

    return answering


def test_a_list_is_asked_for_in_the_url_and_a_search_in_the_body(answers: Answers) -> None:
    asked = answers(200, NONE_FOUND)
    since = datetime(2026, 11, 30, tzinfo=UTC)
    finding.listed(Settings(), {"customer_id": "a b", "created_from": since, "created_to": None, "limit": 50})
    finding.searched(Settings(), {"q": "Test Testov", "phone": None, "limit": 50})
    assert asked == [
        ("/orders?fields=summary&customer_id=a+b&created_from=2026-11-30T00%3A00%3A00%2B00%3A00&limit=50", None),
        ("/orders/search", b'{"fields":"summary","q":"Test Testov","limit":50}'),
    ]


@pytest.mark.parametrize(
    ("status", "answer", "kind", "sentence"),
    [
        (503, problem("index-building"), StartError, finding.SENTENCES["index-building"]),
        (503, problem("busy"), StartError, finding.SENTENCES["busy"]),
        (503, problem("unavailable"), StartError, finding.SENTENCES["unavailable"]),
        (500, problem("internal"), StartError, "Internal error"),
        (400, problem("invalid-cursor", detail="This is no cursor."), UsageError, finding.SENTENCES["invalid-cursor"]),
        (
            400,
            problem("invalid-parameter", detail="`created_from` must be before created_to."),
            UsageError,
            "--created-from must be before --created-to",
        ),
        (
            422,
            problem("invalid-search", [Invalid("must have a digit", "$.phone")]),
            UsageError,
            "--phone must have a digit",
        ),
        (422, problem("invalid-search", [Invalid("must not be empty", "$.q")]), UsageError, "TEXT must not be empty"),
        (404, problem("not-found"), StartError, finding.SENTENCES["not-found"]),
        (405, problem("method-not-allowed"), StartError, finding.SENTENCES["not-found"]),
        (
            502,
            b"<html>",
            StartError,
            "http://127.0.0.1:8080 answered 502, and not as this release does: is it an order service?",
        ),
        (
            200,
            b"[]",
            StartError,
            "http://127.0.0.1:8080 answered 200, and not as this release does: is it an order service?",
        ),
    ],
)
def test_what_is_refused_is_one_sentence_with_the_options_by_their_names(
    answers: Answers, status: int, answer: bytes, kind: type[Exception], sentence: str
) -> None:
    answers(status, answer)
    with pytest.raises(kind) as refused:
        finding.listed(Settings(), {})
    assert str(refused.value) == sentence
