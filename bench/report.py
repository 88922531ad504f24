"""What came of a run: medians, ratios, gates and warnings, as text for a person and as JSON that keeps every sample."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.contest import Comparison, Figure, Outcome
from bench.measure import Noise, Spread, differences, ratios, spread

BUSY_BEFORE = 0.10
BUSY_OTHERS = 0.10
STEAL = 0.02
WIDE = 0.25
RAM_DISKS = ("tmpfs", "ramfs")


class Verdict(Struct, frozen=True):
    """Ours by another's or less it, the median of the rounds; `met` is None where nothing was asked."""

    comparison: Comparison
    ratio: Spread
    met: bool | None


class Run(Struct, frozen=True):
    """Everything about one run; `date` in UTC, `before` what the machine did while the bench did nothing."""

    date: str
    commit: str
    sizes: str
    seconds: float
    machine: dict[str, str | int]
    versions: dict[str, str]
    before: Noise
    outcomes: list[Outcome]


class Row(Struct, frozen=True):
    """A contestant's figure over the rounds."""

    contestant: str
    figure: Figure
    spread: Spread


class Summary(Struct, frozen=True):
    """What the text tells of a contest."""

    contest: str
    rows: list[Row]
    verdicts: list[Verdict]


class Kept(Struct, frozen=True):
    """A file of `bench/results`."""

    run: Run
    summaries: list[Summary]
    warnings: list[str]


# ---- what the samples say ----


def summary(outcome: Outcome) -> Summary:
    """Medians with their spread, and ratios with their gates."""
    rows = [
        Row(contestant, figure, spread(values.values()))
        for contestant in outcome.contestants
        for figure in outcome.figures
        if (values := outcome.values(contestant, figure.name))
    ]
    return Summary(outcome.name, rows, [v for c in outcome.comparisons if (v := verdict(outcome, c))])


def verdict(outcome: Outcome, asked: Comparison) -> Verdict | None:
    """How a comparison came out; None where the other did not take part."""
    ours, other = (outcome.values(name, asked.figure) for name in (asked.ours, asked.other))
    ratio = (differences if asked.is_difference else ratios)(ours, other)
    return None if ratio is None else Verdict(asked, ratio, meets(ratio.median, asked))


def meets(ratio: float, asked: Comparison) -> bool | None:
    """Whether a ratio passes its gate."""
    if asked.at_least is not None:
        return ratio >= asked.at_least
    return None if asked.at_most is None else ratio <= asked.at_most


def warnings(run: Run) -> list[str]:
    """Why the figures should not be believed, one sentence each."""
    found = list(warnings_of_machine(run))
    for outcome in run.outcomes:
        found += warnings_of_noise(outcome)
        found += warnings_of_spread(outcome)
    return found


def warnings_of_machine(run: Run) -> Iterator[str]:
    """The state before the start, and a disk that is none."""
    if run.before.others > BUSY_BEFORE:
        yield f"before the start other processes took {run.before.others:.0%} of the CPU"
    if run.machine.get("disk") in RAM_DISKS:
        yield "the services' data lay in RAM, where a COMMIT waits for nothing: set TMPDIR to a folder on a disk"


def warnings_of_noise(outcome: Outcome) -> Iterator[str]:
    """Other processes and steal while a contest continued: its worst run."""
    others = max((sample.others for sample in outcome.samples), default=0.0)
    steal = max((sample.steal for sample in outcome.samples), default=0.0)
    if others > BUSY_OTHERS:
        yield f"{outcome.name}: other processes took up to {others:.0%} of the CPU during a run"
    if steal > STEAL:
        yield f"{outcome.name}: the host took up to {steal:.0%} of the CPU away (steal) during a run"


def warnings_of_spread(outcome: Outcome) -> Iterator[str]:
    """Rounds that differ much in the figure that counts."""
    figure = outcome.figures[0]
    for contestant in outcome.contestants:
        values = outcome.values(contestant, figure.name)
        if values and (width := spread(values.values()).width) > WIDE:
            yield f"{outcome.name}: {figure.unit} of {contestant!r} differed by {width:.0%} from round to round"


# ---- text ----


def text(run: Run) -> Iterator[str]:
    """The whole run, line by line."""
    cpu, cores = run.machine.get("cpu"), run.machine.get("cores")
    yield f"{run.date}, {run.sizes}, {run.seconds:.0f} s, commit {run.commit or 'unknown'}"
    yield f"{cpu}, {cores} cores, {run.machine.get('kernel')}, data on {run.machine.get('disk')}"
    yield ", ".join(f"{name} {number}" for name, number in run.versions.items())
    for outcome in run.outcomes:
        yield ""
        yield from text_of(outcome)
    yield ""
    yield from (f"WARNING: {warning}" for warning in warnings(run))


def text_of(outcome: Outcome) -> Iterator[str]:
    """One contest: each figure of all contestants, then the ratios."""
    told = summary(outcome)
    yield f"{outcome.name}: {outcome.title} ({outcome.rounds})"
    for figure in outcome.figures:
        yield f"  {figure.unit}"
        yield from (f"    {row.contestant:<46}{shown(row):>32}" for row in told.rows if row.figure == figure)
    yield from (f"  {sentence(each, outcome)}" for each in told.verdicts)
    yield from (f"  left out: {name}: {why}" for name, why in outcome.absent.items())
    yield from (f"  note: {note}" for note in outcome.notes)


def shown(row: Row) -> str:
    """`median (low to high)`; the median alone where there is one value."""
    value, digits = row.spread, row.figure.digits
    median, low, high = (f"{number:,.{digits}f}" for number in (value.median, value.low, value.high))
    return median if value.low == value.high else f"{median} ({low} to {high})"


def sentence(verdict: Verdict, outcome: Outcome) -> str:
    """A ratio or a difference in words."""
    asked = verdict.comparison
    unit = next(figure.unit for figure in outcome.figures if figure.name == asked.figure)
    ratio = f"{verdict.ratio.median:.2f} ({verdict.ratio.low:.2f} to {verdict.ratio.high:.2f})"
    return f"{asked.ours} {'less' if asked.is_difference else '/'} {asked.other}; {unit}: {ratio}{gate(verdict)}"


def gate(verdict: Verdict) -> str:
    """What was asked of a ratio, and whether it is so."""
    asked = verdict.comparison
    if verdict.met is None:
        return ""
    bound = f"at least {asked.at_least:g}" if asked.at_least is not None else f"at most {asked.at_most:g}"
    return f"; gate {bound}: {'met' if verdict.met else 'MISSED'}"


# ---- files ----


def kept(run: Run) -> Kept:
    """The run with what follows from it."""
    return Kept(run, [summary(outcome) for outcome in run.outcomes], warnings(run))


def keep(run: Run, folder: Path) -> Path:
    """Writes the file of a run; its name tells when and of what."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = "-".join(filter(None, (run.date.replace(":", ""), run.commit.replace("+", "-changed"), run.sizes)))
    file = folder / f"{stem}.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(kept(run))) + b"\n")
    return file


def load(file: Path) -> Run:
    """The run of a file that was kept."""
    return msgspec.json.decode(file.read_bytes(), type=Kept).run
