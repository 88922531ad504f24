"""Logs: one line an event, for a person or as JSON, without what libraries quote."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from orders import logs


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Python's own logging is shared by all tests."""
    root, kafka = logging.getLogger(), logging.getLogger("librdkafka")
    before = root.handlers[:], root.level, kafka.filters[:], kafka.level
    yield
    root.handlers, root.level, kafka.filters, kafka.level = before
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def written(form: str, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logs.configure("ingest:0", level, form, stream)
    return stream


def only_event(stream: io.StringIO) -> Any:
    (line,) = stream.getvalue().splitlines()
    return json.loads(line)


def test_an_event_is_one_line_of_json_with_its_action() -> None:
    stream = written("json")
    structlog.get_logger().info("batch_written", records=3, note="Łódź\nżółw")
    event = only_event(stream)
    assert event.pop("time").endswith("Z")
    assert event == {
        "action": "batch_written",
        "level": "info",
        "process": "ingest:0",
        "records": 3,
        "note": "Łódź\nżółw",
    }


def test_an_event_is_one_plain_line_where_there_is_no_terminal() -> None:
    stream = written("console")
    structlog.get_logger().warning("consumption_held", reason="two\nlines")
    (line,) = stream.getvalue().splitlines()
    assert "consumption_held" in line
    assert "\x1b" not in line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_has_colour_unless_no_color_is_set(
    monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    stream = Terminal()
    logs.configure("serve", "info", "console", stream)
    structlog.get_logger().info("started")
    assert ("\x1b[" in stream.getvalue()) is coloured


def test_events_below_the_level_are_left_out() -> None:
    stream = written("json", level="warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert only_event(stream)["action"] == "loud"


def test_what_libraries_log_goes_the_same_way() -> None:
    stream = written("json")
    logging.getLogger("uvicorn.error").warning("shutdown of %s", "it")
    logging.getLogger("uvicorn.error").info("not worth a line")
    event = only_event(stream)
    assert (event["action"], event["text"], event["process"]) == ("uvicorn.error", "shutdown of it", "ingest:0")


def test_warnings_go_the_same_way() -> None:
    stream = written("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)  # catch_warnings put Python's own function back
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    assert "old ways" in only_event(stream)["text"]


def test_an_exception_is_its_kind_and_places_never_its_text() -> None:
    stream = written("json")
    try:
        int("Test Testov, +9720000000")
    except ValueError as error:
        structlog.get_logger().error("failed", exc_info=error)
        logging.getLogger("library").exception("failed too")
    assert "Testov" not in stream.getvalue()
    assert stream.getvalue().count("ValueError at test_logs.py:") == 2


def test_a_stream_that_is_gone_does_no_harm() -> None:
    stream = written("json")
    stream.close()
    structlog.get_logger().info("nobody_reads_this")
