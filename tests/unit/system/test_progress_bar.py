"""The bar of what is done one by one: who sees it, and what it says."""

import io
from threading import Event

import pytest
from rich.console import Console

from orders.system import progress_bar
from orders.system.progress_bar import CountingBar, PhaseBar
from support.waiting import wait_for


def console(out: io.StringIO, *, terminal: bool = True) -> Console:
    return Console(file=out, force_terminal=terminal, force_interactive=terminal, width=80, no_color=True)


def test_what_is_done_soon_shows_nothing() -> None:
    out = io.StringIO()
    with CountingBar(10, console(out)) as bar:
        bar.advance(10)
    assert out.getvalue() == ""


@pytest.mark.parametrize("total", [4000, None])
def test_what_takes_long_shows_count_and_rate_and_a_remaining_time_where_there_is_a_total(
    total: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_bar, "LONG_SECONDS", 0.0)
    monkeypatch.setattr(progress_bar, "SHOW_SECONDS", 0.0)
    out, tick = io.StringIO(), Event()
    with CountingBar(total, console(out)) as bar:

        def shown() -> bool:
            bar.advance(1)
            return not tick.wait(0.01) and "/s" in out.getvalue()

        wait_for(shown, "a rate")
    last = out.getvalue()
    assert ("0:0" in last) is (total is not None)
    assert ("/4000" in last) is (total is not None)


def test_nothing_is_shown_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "LONG_SECONDS", 0.0)
    out = io.StringIO()
    with CountingBar(10, console(out, terminal=False)) as bar:
        bar.advance(10)
    assert out.getvalue() == ""


def test_a_bar_ends_with_all_that_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    # The bar is told now and then only; at the end it must have all.
    monkeypatch.setattr(progress_bar, "LONG_SECONDS", 0.0)
    out = io.StringIO()
    with CountingBar(500, console(out)) as bar:
        wait_for(bar._start.finished.is_set, "the bar is shown")
        for _ in range(500):
            bar.advance(1)
    assert "500/500" in out.getvalue()


def test_each_phase_has_its_own_count() -> None:
    out, tick = io.StringIO(), Event()
    done = iter(range(1, 10**6))
    with PhaseBar(console(out)) as bar:

        def shown(text: str, total: int) -> bool:
            bar.at(text, next(done), total)
            return not tick.wait(0.01) and text in out.getvalue()

        wait_for(lambda: shown("scanning", 10**6) and "/s" in out.getvalue(), "a rate")
        bar.at("sorting", 5, 10)
    assert "sorting" in out.getvalue()
    assert " 50%" in out.getvalue()


def test_without_a_phase_nothing_is_shown() -> None:
    # As where the schema is up to date.
    out = io.StringIO()
    with PhaseBar(console(out)):
        pass
    assert out.getvalue() == ""


def test_a_phase_is_not_shown_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    with PhaseBar(console(out, terminal=False)) as bar:
        bar.at("scanning", 5, 10)
    assert out.getvalue() == ""
