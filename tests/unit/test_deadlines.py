"""The inequality that keeps a transaction under the rule of memory, from the constants that are in force."""

from orders import deadlines
from orders.timing import backoff


def test_a_fence_outlasts_every_read_that_began_before_its_commit_with_a_margin() -> None:
    """The worst case: sent at the last moment, answered at the last moment, and put by the slowest reader."""
    sending = max(deadlines.FENCE, deadlines.IDLE)
    answering = deadlines.STATEMENT + deadlines.SILENT
    last_put = sending + answering + deadlines.FRESH
    assert deadlines.LIFE - last_put >= deadlines.MARGIN >= 5


def test_fences_of_a_commit_in_doubt_are_set_again_in_time() -> None:
    """Between two tries lie a pause, a new connection and a first statement that is not answered."""
    waits = backoff()
    assert max(next(waits) for _ in range(100)) <= deadlines.BACKOFF
    retried = deadlines.BACKOFF + deadlines.CONNECT + max(deadlines.LOCK, deadlines.STATEMENT) + deadlines.SILENT
    assert retried == deadlines.RETRIED
    assert deadlines.FRESH + retried + deadlines.MARGIN <= deadlines.LIFE


def test_a_whole_transaction_has_room_for_a_lock_and_a_statement() -> None:
    assert deadlines.TRANSACTION >= deadlines.LOCK + deadlines.STATEMENT
    assert deadlines.FENCE <= deadlines.IDLE, "the own clock is looked at before PostgreSQL would end the session"
