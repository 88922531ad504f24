"""The table of metrics, and values that are right over processes, restarts and kills."""

import re
from collections import Counter as Tally
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from orders.errors import Unavailable
from orders.logs import SAMPLING, ignored
from orders.metrics.files import claim, files, totals
from orders.metrics.kinds import Counter, Gauge, Histogram, Layout, StoredMetric, Values
from orders.metrics.table import BATCHES, COMMIT_SECONDS, LAYOUT, RECORDS, SUPPRESSED, TABLE, private, shared
from support.metrics import counting, release
from support.waiting import wait_for

KEPT: list[Any] = [metric for metric in TABLE if isinstance(metric, StoredMetric)]
SMALL = Layout([BATCHES])
UNITLESS = {
    "orders_partition_stopped",
    "orders_position",
    "orders_log_end",
    "orders_memory_restrictions",
    "orders_ingests",
    "orders_ready",
    "orders_ready_for",
    "orders_index_valid",
    "orders_index_build_ratio",
    "orders_build_info",
}
ROW = 1 + len(COMMIT_SECONDS.buckets)


def test_names_are_unique() -> None:
    assert max(Tally(metric.name for metric in TABLE).values()) == 1


@pytest.mark.parametrize("metric", TABLE, ids=lambda m: m.name)
def test_names_are_prometheus_names_with_their_unit(metric: Any) -> None:
    """Counters end in `_total`, whatever is measured in its unit; ours begin with `orders_`."""
    assert re.fullmatch(r"(orders|http_server|messaging_client)_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.kind == "counter" or metric.unit or metric.name in UNITLESS
    assert all(re.fullmatch(r"[a-z_]+", label) for label in metric.labels)


@pytest.mark.parametrize("metric", TABLE, ids=lambda m: m.name)
def test_help_is_one_line_that_begins_with_a_capital_and_has_no_stop(metric: Any) -> None:
    assert re.fullmatch(r"[A-Z][^\n]{20,}[^.\s]", metric.help)


@pytest.mark.parametrize("metric", TABLE, ids=lambda m: m.name)
def test_every_metric_says_what_to_do_about_it_in_sentences(metric: Any) -> None:
    assert re.fullmatch(r"[A-Z0-9`][^\n]{30,}[.?]", metric.action)


@pytest.mark.parametrize("metric", KEPT, ids=lambda m: m.name)
def test_the_labels_are_those_that_the_type_checker_knows(metric: Any) -> None:
    (known,) = get_args(metric.__orig_class__)
    assert tuple(metric.rows) == (get_args(known) or (None,))


@pytest.mark.parametrize("metric", [m for m in KEPT if m.kind == "histogram"], ids=lambda m: m.name)
def test_buckets_ascend(metric: Any) -> None:
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_a_misspelt_label_and_a_wrong_kind_are_errors_of_types() -> None:
    """If mypy took one of these, its ignore would be unused, and that is an error too."""
    values = private()
    with pytest.raises(KeyError):
        values.add(BATCHES, "dri")  # type: ignore[misc] # the point
    with pytest.raises(KeyError):
        values.add(RECORDS, "dry")  # type: ignore[misc] # the point: another metric's label
    with pytest.raises(AttributeError):
        values.observe(BATCHES, "dry", 1.0)  # type: ignore[arg-type] # the point: nothing to measure


Colour = Literal["red", "green"]
PAINTED = Counter[Colour]("painted_total", "Pots", "Paint.", {"colour": get_args(Colour), "shop": ("one",)})
DRIED = Histogram[tuple[Colour, Colour]](
    "dried_seconds",
    "Hours",
    "Wait.",
    (1.0, 2.0, 5.0),
    {"under": get_args(Colour), "over": get_args(Colour)},
    combinations=product(get_args(Colour), get_args(Colour)),
)
PAINT = Layout([PAINTED, Gauge("shelf", "Pots on it", "Tidy it."), DRIED])

COLOURS = st.sampled_from(get_args(Colour))
EIGHTHS = st.integers(-10, 100).map(lambda n: n / 8)


@given(
    st.lists(st.tuples(COLOURS, st.integers(0, 5))),
    st.lists(st.tuples(st.tuples(COLOURS, COLOURS), st.lists(EIGHTHS, max_size=3))),
)
def test_any_sequence_is_the_sums_and_buckets_that_it_should_be(
    added: list[tuple[Colour, int]], observed: list[tuple[tuple[Colour, Colour], list[float]]]
) -> None:
    values, expected = Values(PAINT), [0.0] * PAINT.size
    for colour, amount in added:
        values.add(PAINTED, colour, amount)
        expected[get_args(Colour).index(colour)] += amount
    for (under, over), seconds in observed:
        values.observe_all(DRIED, (under, over), seconds[1:])
        for each in seconds[:1]:
            values.observe(DRIED, (under, over), each)
        begin = 2 + 5 * (2 * get_args(Colour).index(under) + get_args(Colour).index(over))
        for each in seconds:
            expected[begin + sum(each > bound for bound in DRIED.buckets)] += 1
            expected[begin + 4] += each
    assert values.cells.tolist() == expected


def layout(
    name: str = "painted_total", colours: tuple[str, ...] = ("red", "green"), bounds: tuple[float, ...] = (1, 2)
) -> Layout:
    return Layout(
        [
            Counter[str](name, "Pots", "Paint.", {"colour": colours}),
            Histogram[None]("dried_seconds", "Hours", "Wait.", bounds),
        ]
    )


def test_only_arrays_that_fit_have_the_same_fingerprint() -> None:
    """Another name, label, order of labels or bound is another layout, also where the size is the same; help is not."""
    others = [layout(name="drawn_total"), layout(colours=("red", "blue")), layout(colours=("green", "red"))]
    others += [layout(colours=("red",)), layout(bounds=(1, 3)), layout(bounds=(1, 2, 3))]
    assert len({each.fingerprint for each in [layout(), *others]}) == 7
    assert layout().fingerprint == layout().fingerprint


def test_labels_that_are_combined_need_their_combinations() -> None:
    """Only those have rows; what is not among them is not counted."""
    labels = {"under": get_args(Colour), "over": get_args(Colour)}
    with pytest.raises(ValueError, match="too many values"):
        Counter[tuple[Colour, Colour]]("coats_total", "Coats", "Dry them.", labels)
    coats = Counter[tuple[Colour, Colour]](
        "coats_total",
        "Coats",
        "Dry them.",
        labels | {"shop": ("one",)},
        combinations=[("green", "red"), ("red", "red"), ("green", "red")],
    )
    assert list(coats.named()) == [("green", "red", "one"), ("red", "red", "one")]
    values = Values(Layout([coats]))
    with pytest.raises(KeyError):
        values.add(coats, ("red", "green"))


# ---- slots ----


def sums(memory: Path) -> tuple[float, float, float]:
    """Batches that ran dry; commits, and the seconds that they took."""
    cells = totals(memory, LAYOUT, private())
    batches, commits = LAYOUT.place(BATCHES, "dry"), LAYOUT.place(COMMIT_SECONDS, "committed")
    return cells[batches], sum(cells[commits : commits + ROW]), cells[commits + ROW]


def test_killed_and_started_again_processes_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    """Two count at once and are killed, three times over; anyone who reads meanwhile never sees a sum go back."""
    memory, rounds, count = tmp_path / "memory", 3, 30_000
    seen = (0.0, 0.0, 0.0)
    for _ in range(rounds):
        with counting(memory, count) as one, counting(memory, count) as other:
            release(one)
            release(other)
            while one.poll() is None or other.poll() is None:
                now = sums(memory)
                assert all(new >= old for new, old in zip(now, seen, strict=True))
                seen = now
            assert (one.returncode, other.returncode) == (-9, -9)
    assert sums(memory) == (2 * rounds * count, 2 * rounds * count, rounds * count)
    assert len(list(tmp_path.iterdir())) == 2, "a process that comes again takes a file that is free"


def test_a_process_killed_in_the_middle_leaves_what_it_counted(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    with counting(memory, 10**9) as process:
        release(process)
        wait_for(lambda: sums(memory)[0] >= 1000, "it counts")
    left = sums(memory)
    assert left[0] - left[1] in (0, 1), "at most the one batch at which it was killed is counted in part"
    values = claim(memory, LAYOUT)
    values.add(BATCHES, "dry")
    assert sums(memory)[0] == left[0] + 1


def test_each_process_has_a_file_of_its_own_that_others_cannot_read(tmp_path: Path) -> None:
    held = [claim(tmp_path / "memory", SMALL) for _ in range(3)]
    for values in held:
        values.add(BATCHES, "dry")
    assert len(list(tmp_path.iterdir())) == 3
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert totals(tmp_path / "memory", SMALL, private())[0] == 3


def test_files_of_another_layout_go_once_nobody_holds_them(tmp_path: Path) -> None:
    """After an upgrade; while a process of the old release runs, its file stays, and is not summed."""
    memory = tmp_path / "memory"
    old = claim(memory, SMALL)
    old.add(BATCHES, "dry", 7)
    new = claim(memory, LAYOUT)
    assert totals(memory, LAYOUT, new)[LAYOUT.place(BATCHES, "dry")] == 0
    assert totals(memory, SMALL, old)[0] == 7
    old.cells.release()
    assert len(list(files(memory, ""))) == 2
    del old
    other = claim(memory, LAYOUT)
    assert [LAYOUT.fingerprint in path.name for path in files(memory, "")] == [True, True]
    assert not other.private
    assert not new.private


LARGER, OTHERWISE = Layout([PAINTED], SMALL), Layout([DRIED], SMALL)


def test_what_is_counted_in_a_layout_and_in_its_base_is_added_up(tmp_path: Path) -> None:
    """Also where the file of the larger one is not held: its process may come again."""
    memory = tmp_path / "memory"
    larger = claim(memory, LARGER)
    larger.add(BATCHES, "dry", 3)
    larger.add(PAINTED, "green", 5)
    del larger
    smaller = claim(memory, SMALL)
    smaller.add(BATCHES, "dry", 4)
    cells = totals(memory, LARGER, smaller)
    assert (cells[LARGER.place(BATCHES, "dry")], cells[LARGER.place(PAINTED, "green")]) == (7, 5)
    assert len(cells) == LARGER.size == SMALL.size + 2


def test_private_values_of_the_base_are_in_the_sums_of_the_larger_layout(tmp_path: Path) -> None:
    own = Values(SMALL)
    own.add(BATCHES, "dry")
    assert totals(tmp_path / "memory", LARGER, own) == [1.0, *[0.0] * (LARGER.size - 1)]


def test_a_larger_layout_of_another_release_is_left_behind(tmp_path: Path) -> None:
    """Its file goes with the first process that has the newer one; of the base nothing is lost."""
    memory = tmp_path / "memory"
    claim(memory, SMALL).add(BATCHES, "dry")
    claim(memory, OTHERWISE).add(BATCHES, "dry")
    claim(memory, LARGER).add(BATCHES, "dry")
    assert totals(memory, LARGER, private())[LARGER.place(BATCHES, "dry")] == 2
    assert len(list(files(memory, ""))) == 2


def test_other_files_beside_the_memory_are_left_alone(tmp_path: Path) -> None:
    others = [tmp_path / name for name in ("memory", "memory-lock", "memory2.metrics-x-0")]
    for path in others:
        path.touch()
    values = claim(tmp_path / "memory", LAYOUT)
    assert not values.private
    assert all(path.exists() for path in others)


def test_a_file_that_is_too_short_is_made_whole(tmp_path: Path) -> None:
    """A process was killed, or the disk was full, while it was written."""
    memory = tmp_path / "memory"
    values = claim(memory, SMALL)
    (path,) = tmp_path.iterdir()
    del values
    path.write_bytes(b"\0" * 8)
    assert totals(memory, SMALL, private())[0] == 0
    claim(memory, SMALL).add(BATCHES, "stop")
    assert totals(memory, SMALL, private())[SMALL.place(BATCHES, "stop")] == 1


def test_without_a_place_for_files_a_process_counts_for_itself(tmp_path: Path) -> None:
    """It says so once; its own counts are in the sums that it reads."""
    with capture_logs() as logs:
        values = claim(tmp_path / "nowhere" / "memory", LAYOUT)
    assert [entry["event"] for entry in logs] == ["metrics_incomplete"]
    values.add(BATCHES, "dry")
    assert totals(tmp_path / "memory", LAYOUT, values)[LAYOUT.place(BATCHES, "dry")] == 1


def test_files_that_cannot_be_read_are_away(tmp_path: Path) -> None:
    """Not sums that went back."""
    with pytest.raises(Unavailable):
        totals(tmp_path / "nowhere" / "memory", LAYOUT, private())


def test_log_lines_that_are_held_back_are_counted(tmp_path: Path) -> None:
    """In the file of the process that held them back, by their level; a level of a library's own counts as an error."""
    shared(tmp_path / "memory")
    try:
        for level in ("warning", "warning", "critical"):
            SAMPLING.counted(level)
        cells = totals(tmp_path / "memory", LAYOUT, private())
        found = {level: cells[LAYOUT.place(SUPPRESSED, level)] for level in SUPPRESSED.rows}
        assert found == {"info": 0, "warning": 2, "error": 1}
    finally:
        SAMPLING.counted = ignored
