"""A machine that gets up by itself, where the fault under test may end a process."""

from support.machine import Machine


class RestartingMachine(Machine):
    """What ended by itself is started again, as `orders run` does, whenever readiness is asked for."""

    def is_ready(self) -> bool:
        for kind in [kind for kind in self._running if self.status(kind) is not None]:
            self.start(kind)
        return super().is_ready()
