"""Kafka's jars: fetched once into Maven's local repository, each start checks them against pinned SHA-256 sums.

`kafka-jars.txt` is written by `tools/pin_jars.py`. Jars are fetched beside their place and moved there when they
are right, so that an interrupted download, or two at once, leave nothing broken.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from orders.embedded import Download, Progress
from orders.errors import StartError

FETCHES = 6
"""Jars fetched at the same time."""
TRIES = 2


class Jar(NamedTuple):
    """A jar of a Maven repository, and what it must be; `size` in bytes, `classifier` mostly empty."""

    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str
    size: int

    @property
    def path(self) -> Path:
        """Where the jar lies in a Maven repository."""
        tail = f"-{self.classifier}" if self.classifier else ""
        folder = Path(*self.group.split("."), self.artifact, self.version)
        return folder / f"{self.artifact}-{self.version}{tail}.jar"

    def is_right(self, file: Path) -> bool:
        """Whether a file is there and is this jar, byte for byte."""
        try:
            with file.open("rb") as stream:
                same_size = os.fstat(stream.fileno()).st_size == self.size
                return same_size and hashlib.file_digest(stream, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return False


Advance = Callable[[int], None]
JarFetch = Callable[[Jar, Path, Advance], None]
"""Fetches a jar to `folder / jar.path`, telling `advance` of each chunk's bytes; raises `StartError` or OSError."""


def parse(text: str) -> list[Jar]:
    """Jars of lines `group:artifact:version[:classifier] sha256 size`; lines with `#` are remarks."""
    return [_jar(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _jar(line: str) -> Jar:
    coordinate, sha256, size = line.split()
    group, artifact, version, *classifier = coordinate.split(":")
    return Jar(group, artifact, version, "".join(classifier), sha256, int(size))


def pinned() -> list[Jar]:
    """The jars of the Kafka that we run."""
    return parse(files(__package__).joinpath("kafka-jars.txt").read_text("utf-8"))


def local_repository() -> Path:
    """Maven's local repository of this user: `M2_REPO`, else `~/.m2/repository`. Raises `StartError`."""
    try:
        return Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository").absolute()
    except RuntimeError:
        raise StartError("this user has no home for Kafka's jars: name a directory in M2_REPO") from None


def provide(jars: Sequence[Jar], repository: Path, progress: Progress, fetcher: Callable[[], JarFetch]) -> list[Path]:
    """Paths of the jars, after fetching those that are missing or wrong by what `fetcher` gives.

    Raises `StartError` when one cannot be had.
    """
    try:
        with ThreadPoolExecutor(FETCHES) as pool:
            right = pool.map(lambda jar: jar.is_right(repository / jar.path), jars)
            missing = [jar for jar, ok in zip(jars, right, strict=True) if not ok]
        if missing:
            _fetch_all(missing, repository, progress, fetcher())
    except OSError as error:
        why = f"{error.strerror or error}: {error.filename or repository}"
        raise StartError(f"Kafka's jars have no place ({why}): name another directory in M2_REPO") from error
    return [repository / jar.path for jar in jars]


def _fetch_all(jars: Sequence[Jar], repository: Path, progress: Progress, fetch: JarFetch) -> None:
    total = sum(jar.size for jar in jars)
    progress.step(f"fetching {len(jars)} of Kafka's jars once, {total / 1e6:.0f} MB, into {repository}")
    repository.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".orders-", dir=repository) as folder,
        progress.download(total) as download,
        _one_at_a_time(download) as advance,
    ):
        _in_parallel(lambda jar: _fetch_one(jar, Path(folder), repository, fetch, advance), jars)


class GivenUp(Exception):
    """Another jar could not be had, or the start was stopped."""


@contextmanager
def _one_at_a_time(download: Download) -> Iterator[Advance]:
    """Its `advance` for many threads; after the end it stops them at their next chunk."""
    lock = Lock()
    over = False

    def advance(count: int) -> None:
        if over:
            raise GivenUp
        with lock:
            download.advance(count)

    try:
        yield advance
    finally:
        over = True


def _in_parallel(work: Callable[[Jar], None], jars: Iterable[Jar]) -> None:
    pool = ThreadPoolExecutor(FETCHES)
    try:
        for done in [pool.submit(work, jar) for jar in jars]:
            done.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _fetch_one(jar: Jar, folder: Path, repository: Path, fetch: JarFetch, advance: Advance) -> None:
    fetched = folder / jar.path
    for _ in range(TRIES):
        fetched.unlink(missing_ok=True)
        fetch(jar, folder, advance)
        if jar.is_right(fetched):
            (repository / jar.path).parent.mkdir(parents=True, exist_ok=True)
            fetched.replace(repository / jar.path)
            return
    raise StartError(f"the fetched {jar.path.name} is not the one that was pinned (SHA-256 differs); it was not used")
