"""What is said while something continues: lines anywhere; on a terminal, below them, what is under way."""

import io
import re
import threading

import pytest
from rich.console import Console
from structlog.testing import capture_logs

from orders.system.shutdown import StopRequested, StopSignal
from orders.system.steps import LONG_SECONDS, Addresses, LoggedSteps, Steps
from support.waiting import wait_for

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


class Screen:
    """Where steps are said, a terminal or a file, and the text that came there."""

    def __init__(self, *, terminal: bool, **more: str) -> None:
        self._file = io.StringIO()
        self.clock = Hand()
        self.stop = StopSignal()
        console = Console(
            file=self._file,
            force_terminal=terminal,
            width=100,
            highlight=False,
            soft_wrap=True,
            _environ={"TERM": "xterm", **more},
        )
        self.steps = Steps(self.stop, console, self.clock)

    @property
    def raw(self) -> str:
        return self._file.getvalue()

    @property
    def text(self) -> str:
        return CONTROL.sub("", self.raw)


def test_a_line_has_the_seconds_since_the_start() -> None:
    screen = Screen(terminal=False)
    screen.clock.now += 1.25
    screen.steps.step("starting [Kafka]")
    screen.steps.say("as it is")
    assert screen.raw == "   1.2 s  starting [Kafka]\nas it is\n"


def everything(steps: Steps, clock: Hand) -> None:
    """All that can be under way."""
    with (
        steps.waiting(lambda: "starting Kafka: 3 s"),
        steps.download(1_000_000) as bar,
        steps.counted("orders") as count,
    ):
        bar.advance(500_000)
        count.at(0, 10)
        clock.now += LONG_SECONDS
        count.at(5, 10)
        steps.step("in between")


@pytest.mark.parametrize(("terminal", "term"), [(False, "xterm"), (True, "dumb")])
def test_where_nobody_looks_there_are_lines_alone_and_no_control_characters(*, terminal: bool, term: str) -> None:
    screen = Screen(terminal=terminal, TERM=term)
    everything(screen.steps, screen.clock)
    assert screen.raw == "   2.0 s  in between\n"


def test_a_terminal_shows_what_is_under_way_and_is_clean_after_it() -> None:
    screen = Screen(terminal=True)
    everything(screen.steps, screen.clock)
    assert "starting Kafka: 3 s" in screen.text
    assert "0.5/1.0 MB" in screen.text
    assert "orders" in screen.text
    assert "5/10" in screen.text
    assert screen.raw.count("\x1b[?25l") == screen.raw.count("\x1b[?25h") == 1  # the cursor comes back
    assert screen.text.count("   2.0 s  in between\n") == 1


def test_without_colours_there_are_none() -> None:
    screen = Screen(terminal=True, NO_COLOR="1")
    everything(screen.steps, screen.clock)
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m|\x1b\[[0-9;]*9[0-7]m", screen.raw)


@pytest.mark.parametrize(("after", "done"), [(LONG_SECONDS - 0.1, 5), (LONG_SECONDS, 10), (LONG_SECONDS, 0)])
def test_what_is_soon_over_shows_no_bar(after: float, done: int) -> None:
    # Neither a short restore, nor one that has finished, nor one whose size nobody knows yet.
    screen = Screen(terminal=True)
    with screen.steps.counted("orders") as count:
        screen.clock.now += after
        count.at(done, 10 if done else 0)
    assert screen.raw == ""


def test_several_threads_may_show_something_at_the_same_time() -> None:
    screen, here, go_on = Screen(terminal=True), threading.Event(), threading.Event()

    def other() -> None:
        with screen.steps.waiting(lambda: "the other"):
            here.set()
            go_on.wait(10)

    thread = threading.Thread(target=other)
    with screen.steps.waiting(lambda: "ours"):
        thread.start()
        here.wait(10)
    wait_for(lambda: "the other" in screen.text)
    go_on.set()
    thread.join()
    assert screen.raw.count("\x1b[?25l") == screen.raw.count("\x1b[?25h") == 1


def test_a_download_is_given_up_when_everything_stops() -> None:
    screen = Screen(terminal=False)
    screen.stop.begin()
    screen.stop._signal = 15
    with screen.steps.download(10) as bar, pytest.raises(StopRequested):
        bar.advance(1)


def test_a_terminal_that_is_gone_is_no_failure() -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(5, "Input/output error")

    steps = Steps(StopSignal(), Console(file=Gone(), force_terminal=True))
    steps.step("said to nobody")
    with steps.waiting(lambda: "shown to nobody"):
        pass


def test_where_logs_are_json_steps_are_events_and_nothing_is_drawn() -> None:
    clock = Hand()
    steps = LoggedSteps(StopSignal(), clock)
    clock.now += 1.25
    with capture_logs() as logs:
        everything(steps, clock)
        steps.found_at(Addresses("http://127.0.0.1:1", "127.0.0.1:2", "orders", "postgresql://u@h/d"), "{}", "uid")
    assert [(each["event"], each.get("text"), each.get("seconds")) for each in logs] == [
        ("step", "in between", 3.2),
        ("started", None, None),
    ]
    assert (logs[1]["http"], logs[1]["topic"]) == ("http://127.0.0.1:1", "orders")
