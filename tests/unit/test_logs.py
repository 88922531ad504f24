"""Logs: one line an event, for a person or as JSON, without what libraries quote."""

import asyncio
import gc
import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from orders import libraries, log_sampling, logs
from support.waiting import wait_for


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Python's own logging is shared by all tests."""
    root, others = logging.getLogger(), [logging.getLogger(name) for name in libraries.LEVELS]
    before = root.handlers[:], root.level, [each.level for each in others]
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning
    yield
    logs.flush()
    logs.SAMPLING.counted = logs.ignored
    root.handlers, root.level, levels = before
    for each, level in zip(others, levels, strict=True):
        each.setLevel(level)
    sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning = hooks
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
    structlog.get_logger().warning("consumption_paused", reason="two\nlines")
    (line,) = stream.getvalue().splitlines()
    assert "consumption_paused" in line
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
    assert event["action"] == "library_log"
    assert (event["library"], event["text"], event["process"]) == ("uvicorn.error", "shutdown of it", "ingest:0")


def test_an_object_in_a_librarys_line_is_the_name_of_its_type() -> None:
    """What `repr` shows of it is an address in memory, or values, which are personal data."""
    stream = written("json")
    logging.getLogger("a").warning("lost %s: %s", object(), ValueError("Test Testov"))
    logging.getLogger("a").warning("%(what)r of %(count)d", {"what": [object()], "count": 3})
    logging.getLogger("a").warning(f"formatted {object()!r}\nat once")  # noqa: G004 - as libraries do
    logging.getLogger("a").warning("wrong %d", "number")
    logging.getLogger("a").error(OSError("an exception for a message"))
    texts = [event["text"] for event in events(stream)]
    assert texts == ["lost object: ValueError", "'list' of 3", "formatted <object>", "wrong %d", "OSError"]


def test_each_try_of_the_pool_to_connect_is_no_line() -> None:
    """The process logs an outage once itself."""
    stream = written("json")
    logging.getLogger("psycopg.pool").warning("error connecting in %r: %s", "serve", OSError("refused"))
    logging.getLogger("psycopg.pool").warning("discarding closed connection: %s", object())
    assert stream.getvalue() == ""


def test_a_line_of_kafkas_client_has_its_parts_as_fields() -> None:
    stream = written("json")
    logging.getLogger("librdkafka").error("%s [%s] %s", "FAIL", "orders#consumer-1", "refused")
    event = only_event(stream)
    assert [event[name] for name in ("action", "facility", "client", "text")] == [
        "kafka_client",
        "FAIL",
        "orders#consumer-1",
        "refused",
    ]


def test_warnings_go_the_same_way() -> None:
    stream = written("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"old ways of {object()!r}", DeprecationWarning, stacklevel=1)
    event = only_event(stream)
    assert (event["action"], event["kind"], event["text"]) == (
        "python_warning",
        "DeprecationWarning",
        "old ways of <object>",
    )
    assert event["place"].startswith("test_logs.py:")


class Unclean:
    """Something that cannot be removed in peace."""

    def __del__(self) -> None:
        raise ValueError("Test Testov")


def test_what_nobody_handles_is_an_event_with_its_places() -> None:
    """In a thread, where Python removes an object, and where it ends the process."""
    stream = written("json")

    def fail() -> None:
        raise ValueError("Test Testov")

    thread = threading.Thread(target=fail, name="one")
    thread.start()
    thread.join()
    Unclean()
    try:
        fail()
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    found = [(event["action"], event.get("thread"), event.get("what")) for event in events(stream)]
    assert found == [
        ("thread_ended", "one", None),
        ("exception_ignored", None, "Unclean.__del__"),
        ("unhandled_exception", None, None),
    ]
    assert all(event["exception"].startswith("ValueError at test_logs.py:") for event in events(stream))
    assert "Testov" not in stream.getvalue()


def test_what_nobody_handles_in_an_event_loop_is_an_event_without_values() -> None:
    """Python would show the task, with its exception's text and its place in memory."""
    stream = written("json")

    async def fail() -> None:
        raise ValueError("Test Testov")

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(libraries.in_loop)
        asyncio.get_running_loop().call_soon(int, "Test Testov")
        task = asyncio.create_task(fail())
        await asyncio.wait({task})
        del task
        gc.collect()

    asyncio.run(scenario())
    found = [(event["action"], event["exception"].partition(" ")[0]) for event in events(stream)]
    assert found == [("loop_error", "ValueError")] * 2
    assert "Testov" not in stream.getvalue()
    assert "0x" not in stream.getvalue()


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


def events(stream: io.StringIO) -> list[Any]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_the_stable_keys_stand_first() -> None:
    stream = written("json")
    with structlog.contextvars.bound_contextvars(request_id="r", trace_id="t"):
        structlog.get_logger().warning("unavailable", kind="Unavailable", reason="gone")
    assert list(only_event(stream)) == [*logs.STABLE, "kind"]


NASTY = st.one_of(
    st.text(st.characters(), max_size=30),
    st.sampled_from(["\n", '"', "\x00", "\x1b[2J", "\u2028", "\x85", "\ud800", "\r", "\\", "\U0001f600", "\x9b"]),
    st.binary(max_size=20),
    st.floats(),
    st.integers(),
    st.none(),
    st.booleans(),
    st.lists(st.one_of(st.floats(), st.text(max_size=5)), max_size=3),
    st.builds(object),
)


def refuse(constant: str) -> None:
    raise AssertionError(constant)


@given(NASTY, NASTY)
def test_whatever_an_event_holds_is_one_line_of_valid_json(reason: object, more: object) -> None:
    """Also what is no text in any encoding, and numbers that JSON has no word for."""
    stream = written("json")
    structlog.get_logger().warning("failed", reason=reason, more=more)
    logs.flush()
    text = stream.getvalue()
    assert text.count("\n") == len(text.splitlines()) == 1
    event = json.loads(text, parse_constant=refuse)
    text.encode("ascii")
    json.dumps(event, ensure_ascii=False).encode("utf-8")
    assert (event["action"], event["level"]) == ("failed", "warning")


@given(NASTY)
def test_whatever_an_event_holds_is_one_printable_line_for_a_person(reason: object) -> None:
    """Nothing moves the cursor or begins another line."""
    stream = written("console")
    structlog.get_logger().warning("failed", reason=reason)
    logs.flush()
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()


def test_of_a_flood_the_first_lines_are_written_and_the_rest_is_reported_at_the_end() -> None:
    stream, counted = written("json"), list[str]()
    logs.SAMPLING.counted = counted.append
    for number in range(log_sampling.FIRST + 7):
        structlog.get_logger().warning("unavailable", reason="PostgreSQL is unavailable", number=number)
    structlog.get_logger().error("unavailable", reason="Kafka is unavailable")
    assert len(events(stream)) == log_sampling.FIRST + 1
    logs.flush()
    *_, last = events(stream)
    assert last.pop("time")
    assert last.pop("seconds") >= 0
    assert last == {
        "level": "warning",
        "process": "ingest:0",
        "action": "lines_suppressed",
        "reason": "PostgreSQL is unavailable",
        "of": "unavailable",
        "lines": 7,
    }
    assert counted == ["warning"] * 7
    logs.flush()
    assert len(events(stream)) == log_sampling.FIRST + 2


def test_a_flood_that_stops_is_reported_when_its_window_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nothing is logged any more."""
    sampling = logs.Sampling(log_sampling.Floods(first=1, seconds=0.05))
    monkeypatch.setattr(logs, "SAMPLING", sampling)
    stream = written("json")
    for _ in range(3):
        structlog.get_logger().warning("unavailable")

    def reported() -> int:
        return sum(event["lines"] for event in events(stream) if event["action"] == "lines_suppressed")

    wait_for(lambda: reported() == 2, "both lines are reported, of one window or of two")


def test_a_flood_does_no_harm_where_no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it held back is told with a later line."""

    def refuse_to_start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    now = 0.0
    monkeypatch.setattr(logs, "SAMPLING", logs.Sampling(log_sampling.Floods(first=1, seconds=30), lambda: now))
    monkeypatch.setattr(threading.Timer, "start", refuse_to_start)
    stream = written("json")
    for _ in range(3):
        structlog.get_logger().warning("unavailable")
    now = 31.0
    structlog.get_logger().info("started")
    assert [event.get("lines") for event in events(stream)] == [None, 2, None]


def test_debugging_holds_nothing_back() -> None:
    stream = written("json", level="debug")
    for _ in range(2 * log_sampling.FIRST):
        structlog.get_logger().debug("record_sent")
    assert len(events(stream)) == 2 * log_sampling.FIRST


def test_what_a_library_says_again_and_again_is_one_flood_whatever_it_fills_in() -> None:
    """Kafka's client says every second that the brokers are unavailable, each time with other figures."""
    stream = written("json")
    for number in range(log_sampling.FIRST + 3):
        logging.getLogger("librdkafka").critical("%s [%s] %s", "FAIL", "client", f"refused after {number} ms")
    assert len(events(stream)) == log_sampling.FIRST
    assert "template" not in stream.getvalue()
    logs.flush()
    assert events(stream)[-1]["of"] == "kafka_client"


def test_a_line_that_tells_of_a_flood_belongs_to_no_request() -> None:
    stream = written("json")
    with structlog.contextvars.bound_contextvars(request_id="r"):
        for _ in range(log_sampling.FIRST + 1):
            structlog.get_logger().warning("unavailable")
        logs.flush()
    assert [event.get("request_id") for event in events(stream)] == ["r"] * log_sampling.FIRST + [None]


def test_what_was_held_back_is_reported_at_the_end_of_the_process() -> None:
    """A process that ends by itself tells it too."""
    code = "import structlog; from orders import logs; logs.configure('x', 'info', 'json')\n"
    code += "for _ in range(9): structlog.get_logger().info('again')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["action"] for line in lines] == ["again"] * log_sampling.FIRST + ["lines_suppressed"]
    assert lines[-1]["lines"] == 9 - log_sampling.FIRST
