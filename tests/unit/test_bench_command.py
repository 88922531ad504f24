"""The bench's command: what it takes, how it ends, what it says while it runs."""

import io
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from bench import report
from bench.__main__ import CONTESTS, interruptible, main, sized
from bench.contest import Figure, Outcome, Sample, Told
from bench.measure import Noise
from bench.progress import Steps
from bench.sizes import FULL, QUICK


def test_charts_can_be_drawn_again_from_a_kept_file(tmp_path: Path) -> None:
    figure = Figure("rate", "orders/s", 0, more_is_better=True)
    outcome = Outcome("ingest", "title", [figure], [], [Sample("ours", 0, {"rate": 1.0}, 0.0, 0.0)], {}, [])
    run = report.Run("2026-01-02T03:04:05Z", "", "full", 1.0, {}, {}, Noise(0.0, 0.0), [outcome])
    file = report.keep(run, tmp_path / "results")
    done = CliRunner().invoke(main, ["--draw", str(file), "--into", str(tmp_path)], standalone_mode=False)
    assert done.exception is None
    assert [each.name for each in (tmp_path / "charts").iterdir()] == ["ingest.svg"]


def test_an_unknown_contest_is_refused_with_the_known_ones() -> None:
    done = CliRunner().invoke(main, ["nonsense"])
    assert done.exit_code == 2
    assert "'ingest'" in done.output


def test_the_help_names_every_contest_and_has_an_example() -> None:
    text = CliRunner().invoke(main, ["--help"]).output
    assert all(name in text for name in CONTESTS)
    assert "Example: python -m bench" in text


def test_every_contest_has_rounds_and_another_number_of_them_may_be_asked_for() -> None:
    assert set(FULL.rounds) == set(QUICK.rounds) == set(CONTESTS)
    assert sized(FULL, None) == FULL
    assert set(sized(FULL, 2).rounds.values()) == {2}


def test_the_first_signal_ends_the_run_the_second_changes_nothing_and_all_is_as_before_in_the_end() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        be_signalled_thrice()
    assert signal.getsignal(signal.SIGTERM) is before


def be_signalled_thrice() -> None:
    with interruptible():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)


def test_where_there_is_no_terminal_each_step_is_a_line() -> None:
    output = io.StringIO()
    contest = CONTESTS["get"]
    with Steps([contest], QUICK, Console(file=output, soft_wrap=True)) as steps:
        tell = steps.teller(contest)
        tell(Told(Sample("nginx", 1, {"cpu": 12.345}, 0.0, 0.0), 0.5))
    assert output.getvalue().splitlines() == ["get: preparing", "get, round 2: nginx: 12.3 µs server CPU/request"]


def test_a_terminal_shows_the_time_that_is_left_from_the_start() -> None:
    output = io.StringIO()
    contest = CONTESTS["get"]
    with Steps([contest], QUICK, Console(file=output, force_terminal=True, width=120)) as steps:
        steps.say("starting")
    seconds = round(contest.seconds * QUICK.rounds["get"] * QUICK.pace)
    assert f"about {seconds // 60}:{seconds % 60:02} left" in output.getvalue()
