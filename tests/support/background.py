"""Something that continues in a thread beside a test."""

import threading
from collections.abc import Callable
from typing import Self


class Background:
    """Repeats something in a thread, `every` so many seconds, until told to stop; raises its error at the end."""

    def __init__(self, step: Callable[[], None], every: float) -> None:
        self._step, self._every = step, every
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._every):
                self._step()
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        if self._error:
            raise self._error
