"""The command: `python -m bench [--quick] [CONTEST]…`, run from the root of the repository."""

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import click
import msgspec

from bench import beside, charts, footprint, get, indexes, ingest, latency, lookup, report, restore, search, single
from bench.contest import Contest, hold
from bench.machine import commit, is_supported, machine, versions
from bench.measure import idle_noise
from bench.progress import Steps
from bench.services import ground
from bench.sizes import FULL, QUICK, Sizes
from orders import logs
from orders.errors import OrdersError, UsageError

CONTESTS = {
    module.CONTEST.name: module.CONTEST
    for module in (ingest, get, restore, latency, single, footprint, search, lookup, beside, indexes)
}
BY_ASKING = "indexes"
"""Runs when it is named only: it tells what to ship, compares nobody, and needs room for 10 million orders."""
HERE = Path(__file__).resolve().parent
IDLE_SECONDS = 2.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130


@click.command(epilog="Example: python -m bench --quick ingest get")
@click.argument("contests", nargs=-1, type=click.Choice(list(CONTESTS)), metavar="[CONTEST]...")
@click.option("--quick", is_flag=True, help="smaller sizes, about 3 minutes; draws no charts")
@click.option("--rounds", type=click.IntRange(min=1), help="rounds of each contest")
@click.option("--json", "as_json", is_flag=True, help="the result as JSON on standard output, every sample in it")
@click.option("--into", type=click.Path(path_type=Path), default=HERE, help="where results/ and charts/ are")
@click.option(
    "--draw", type=click.Path(exists=True, path_type=Path), help="draw the charts of a kept result; run nothing"
)
def main(
    contests: Sequence[str], *, quick: bool, rounds: int | None, as_json: bool, into: Path, draw: Path | None
) -> None:
    """Measure the service beside what it stands on and what one would use instead.

    CONTEST is any of ingest, get, restore, latency, single, memory, search, lookup, beside and indexes; without one
    all but indexes run.
    """
    with sentences():
        if draw:
            charts.keep(report.load(draw), into / "charts")
            return
        chosen = [CONTESTS[name] for name in contests or [name for name in CONTESTS if name != BY_ASKING]]
        run = measure(chosen, sized(QUICK if quick else FULL, rounds))
        if not quick:
            charts.keep(run, into / "charts")
        file = report.keep(run, into / "results")
        click.echo(msgspec.json.encode(report.kept(run)) if as_json else "\n".join(report.text(run)))
        click.echo(f"kept in {file}", err=True)


@contextmanager
def sentences() -> Iterator[None]:
    """Ends with one sentence where something is wrong, and where a signal asked for the end."""
    try:
        yield
    except OrdersError as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        click.echo("bench: interrupted; nothing is kept", err=True)
        sys.exit(INTERRUPTED)


@contextmanager
def interruptible() -> Iterator[None]:
    """The first signal ends the run; the next ones change nothing, so that all that was started is ended.

    One that is ignored (`nohup`) stays ignored.
    """
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    kept = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """Ends the run by an exception, once."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def sized(sizes: Sizes, rounds: int | None) -> Sizes:
    """The sizes with another number of rounds, if one is given."""
    if rounds is None:
        return sizes
    return msgspec.structs.replace(sizes, rounds=dict.fromkeys(sizes.rounds, rounds))


def measure(chosen: Sequence[Contest], sizes: Sizes) -> report.Run:
    """Holds contests one after the other. Raises `OrdersError`."""
    if not is_supported():
        raise UsageError("the figures need Linux: other systems do not tell the CPU time of processes that ended")
    logs.configure("bench", "error", "console")
    date, began = datetime.now(UTC), time.monotonic()
    before = idle_noise(IDLE_SECONDS)
    with interruptible(), Steps(chosen, sizes) as steps, ground(steps.say) as standing:
        outcomes = [hold(contest, standing, sizes, steps.teller(contest)) for contest in chosen]
        facts = machine(standing.folder)
    seconds = time.monotonic() - began
    when = date.isoformat(timespec="seconds").replace("+00:00", "Z")
    return report.Run(when, commit(), sizes.name, seconds, facts, versions(), before, outcomes)


if __name__ == "__main__":
    main()
