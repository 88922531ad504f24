"""The system that runs, by its own words: its processes, and /readyz part by part."""

from collections.abc import Iterator

from orders.doctor.check import Case, Check, failed, ok, skipped
from orders.readiness import Ready
from orders.system.probe import ask_ready


def look(case: Case) -> Iterator[Check]:
    if not case.running:
        yield skipped("system", f"nothing runs in {case.settings.data}", "start it: `orders run`")
        return
    running = sorted(process.kind for process in case.running)
    started = sorted(process.kind for process in case.left.processes)
    if running != started:
        ended = ", ".join(sorted({kind for kind in started if running.count(kind) < started.count(kind)}))
        yield failed("system", f"{ended} ended", "it is started again by itself: see the log of `orders run`")
    else:
        yield ok("system", f"{len(running)} processes run: {', '.join(running)}")
    yield from parts(ask_ready(case.left.http_url))


def parts(ready: Ready) -> Iterator[Check]:
    """Each part of /readyz; a part that is not ready heals by itself or says what to do."""
    for name, part in ready.parts.items():
        if part.ok:
            yield ok(f"ready: {name}", "yes")
        else:
            yield failed(f"ready: {name}", part.reason)
