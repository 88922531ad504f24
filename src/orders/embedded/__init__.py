"""A real PostgreSQL and a real Apache Kafka as children of ours, for `orders run` without settings and for the tests.

Both need the extra `orders[embedded]`. Each runs under a guard in a session of its own: Ctrl-C does not reach it,
and it ends within seconds when the process that started it is gone, however it went.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Download(Protocol):
    """A download that is under way."""

    def advance(self, count: int) -> None:
        """`count` more bytes are there; calls never overlap."""


class Progress(Protocol):
    """Who is called with the progress of a start."""

    def step(self, text: str) -> None:
        """One line for a person, as it happens."""

    def download(self, total: int) -> AbstractContextManager[Download]:
        """A one-time download of `total` bytes begins."""


class Silent:
    """Progress that nobody looks at."""

    def step(self, text: str) -> None:
        """Says nothing."""

    @contextmanager
    def download(self, total: int) -> Iterator[Download]:  # noqa: ARG002 - the protocol's parameter
        """Shows nothing."""
        yield self

    def advance(self, count: int) -> None:
        """Shows nothing."""
