"""How a process ended, in words for a log: `signal SIGKILL`, or `status 1`."""

import signal

SHELL = 128
"""What a shell adds to the number of a signal (POSIX.1-2024, XCU 2.8.2); guards of embedded services do the same."""


def ending(status: int) -> str:
    """Of an exit status as `subprocess` has it: a signal is negative."""
    if status >= 0:
        return f"status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal has no name
        return f"signal {-status}"


def ending_behind_guard(status: int) -> str:
    """Of an embedded service, from the exit status of its guard; what ended the guard itself is said so."""
    if status < 0:
        return f"its guard by {ending(status)}"
    return ending(SHELL - status if status > SHELL else status)
