"""What the bench tells of a run: gates, warnings, text, the file that is kept, charts."""

from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from bench import charts, report
from bench.contest import Comparison, Figure, Outcome, Sample
from bench.measure import Noise, Spread
from bench.report import Run, meets, summary, text, warnings

RATE = Figure("rate", "orders/s", 0, more_is_better=True)


def sample(contestant: str, number: int, rate: float, others: float = 0.0) -> Sample:
    return Sample(contestant, number, {"rate": rate}, others, 0.0)


def outcome(*samples: Sample, at_least: float | None = 0.5) -> Outcome:
    comparison = Comparison("rate", "ours & theirs", "COPY", at_least=at_least)
    return Outcome("ingest", "A <backlog>", [RATE], [comparison], list(samples), {"nginx": "not there"}, ["a note"])


def run(told: Outcome, before: float = 0.0, disk: str = "ext4") -> Run:
    machine: dict[str, str | int] = {"cpu": "a CPU", "cores": 2, "kernel": "a kernel", "disk": disk}
    return Run("2026-01-02T03:04:05Z", "abc+", "full", 60.0, machine, {"python": "3.11"}, Noise(before, 0.0), [told])


TWO_ROUNDS = outcome(
    sample("ours & theirs", 0, 1000.0),
    sample("COPY", 0, 2000.0),
    sample("COPY", 1, 2100.0),
    sample("ours & theirs", 1, 1100.0),
)


@pytest.mark.parametrize(
    ("bounds", "ratio", "met"),
    [
        ({"at_least": 0.3}, 0.3, True),
        ({"at_least": 0.3}, 0.29, False),
        ({"at_most": 1.3}, 1.3, True),
        ({"at_most": 1.3}, 1.31, False),
        ({}, 9.0, None),
    ],
)
def test_a_gate_is_a_least_or_a_most_or_none(bounds: dict[str, float], ratio: float, met: bool | None) -> None:
    least, most = bounds.get("at_least"), bounds.get("at_most")
    assert meets(ratio, Comparison("rate", "a", "b", at_least=least, at_most=most)) is met


def test_a_difference_goes_round_by_round_and_has_a_gate_too() -> None:
    less = Comparison("rate", "COPY", "ours & theirs", at_most=1000.0, is_difference=True)
    told = msgspec.structs.replace(TWO_ROUNDS, comparisons=[less])
    assert [each.ratio for each in summary(told).verdicts] == [Spread(1000.0, 1000.0, 1000.0)]
    said = "\n".join(report.text_of(told))
    assert "COPY less ours & theirs; orders/s: 1000.00 (1000.00 to 1000.00); gate at most 1000: met" in said


def test_figures_are_medians_and_ratios_go_round_by_round() -> None:
    told = summary(TWO_ROUNDS)
    assert [row.spread for row in told.rows] == [Spread(1050, 1000, 1100), Spread(2050, 2000, 2100)]
    (verdict,) = told.verdicts
    assert (verdict.ratio.low, verdict.met) == (0.5, True)


def test_whoever_did_not_take_part_is_not_compared() -> None:
    assert summary(outcome(sample("ours & theirs", 0, 1.0))).verdicts == []


def test_the_text_has_values_with_their_range_the_gate_and_who_was_left_out() -> None:
    lines = [" ".join(line.split()) for line in text(run(TWO_ROUNDS))]
    assert "ours & theirs 1,050 (1,000 to 1,100)" in lines
    assert "ours & theirs / COPY; orders/s: 0.51 (0.50 to 0.52); gate at least 0.5: met" in lines
    assert "left out: nginx: not there" in lines
    assert "note: a note" in lines
    assert not any(line.startswith("WARNING") for line in lines)


def test_a_missed_gate_is_said_loudly() -> None:
    missed = outcome(sample("ours & theirs", 0, 1.0), sample("COPY", 0, 4.0))
    assert any(line.endswith("gate at least 0.5: MISSED") for line in text(run(missed)))


def test_noise_before_noise_meanwhile_and_rounds_that_differ_are_warned_of() -> None:
    noisy = outcome(sample("COPY", 0, 1000.0, others=0.4), sample("COPY", 1, 2000.0))
    found = warnings(run(noisy, before=0.5, disk="tmpfs"))
    for words in ("before the start", "lay in RAM", "up to 40% of the CPU", "differed by 67%"):
        assert any(words in warning for warning in found), words


def test_a_quiet_run_has_no_warning() -> None:
    assert warnings(run(TWO_ROUNDS)) == []


def test_the_file_that_is_kept_has_every_sample_and_what_follows_from_them(tmp_path: Path) -> None:
    file = report.keep(run(TWO_ROUNDS), tmp_path / "results")
    assert file.name == "2026-01-02T030405Z-abc-changed-full.json"
    assert report.load(file) == run(TWO_ROUNDS)
    kept = msgspec.json.decode(file.read_bytes())
    assert len(kept["run"]["outcomes"][0]["samples"]) == 4
    assert kept["summaries"][0]["verdicts"][0]["met"] is True


def test_a_chart_names_all_bars_with_their_values_and_says_what_is_better() -> None:
    svg = charts.charts(run(TWO_ROUNDS))["ingest"]
    root = ET.fromstring(svg)  # noqa: S314 - our own file
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:6] == ["A <backlog>", "orders/s; more is better", "ours & theirs", "1,050", "COPY", "2,050"]
    kinds = [element.get("class") for element in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert kinds == ["page", "ours", "other"]


def test_a_chart_is_small_follows_the_colour_scheme_and_embeds_no_font() -> None:
    svg = charts.charts(run(TWO_ROUNDS))["ingest"].decode()
    assert len(svg) < 4000
    assert "prefers-color-scheme:dark" in svg
    assert "@font-face" not in svg
