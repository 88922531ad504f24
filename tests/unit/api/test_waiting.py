"""Questions that are joined, and waiting for outcomes, on a loop without services."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.api.waiting import LONGEST_PAUSE, MOST_KEYS, SHORTEST_PAUSE, Gate, Joiner, Outcomes, RecordOutcome
from orders.errors import Busy, Unavailable
from orders.record import RecordCoordinates
from orders.timing import in_time, monotonic

CREATED = RecordOutcome("created", "a", "", "")


class Questions:
    """A fetch whose answers the test gives by hand."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self._answers: list[asyncio.Future[dict[str, int]]] = []

    async def fetch(self, keys: list[str]) -> dict[str, int]:
        self.asked.append(keys)
        self._answers.append(asyncio.get_running_loop().create_future())
        return await self._answers[-1]

    async def answer(self, found: dict[str, int]) -> None:
        self._answers[-1].set_result(found)
        await turns()

    async def fail(self, error: Exception) -> None:
        self._answers[-1].set_exception(error)
        await turns()


async def turns() -> None:
    """Lets everything run that can run."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_what_is_asked_meanwhile_goes_with_the_next_question() -> None:
    """A caller joins a question only if it was not sent before the call, even for the same key."""

    async def scenario() -> None:
        questions = Questions()
        joiner = Joiner(questions.fetch)
        first = [asyncio.create_task(joiner.get(key)) for key in ("a", "b", "a")]
        await turns()
        later = [asyncio.create_task(joiner.get(key)) for key in ("a", "c")]
        await turns()
        assert questions.asked == [["a", "b"]]
        await questions.answer({"a": 1})
        assert questions.asked == [["a", "b"], ["a", "c"]]
        await questions.answer({"a": 2, "c": 3})
        assert await asyncio.gather(*first, *later) == [1, None, 1, 2, 3]

    asyncio.run(scenario())


def test_a_question_is_bounded() -> None:
    """Many keys are asked for in several questions, the first come first."""

    async def scenario() -> None:
        asked: list[int] = []

        async def fetch(keys: list[int]) -> dict[int, int]:
            asked.append(len(keys))
            return {key: -key for key in keys}

        joiner = Joiner(fetch)
        count = 2 * MOST_KEYS + 1
        assert await asyncio.gather(*(joiner.get(n) for n in range(count))) == [-n for n in range(count)]
        assert asked == [MOST_KEYS, MOST_KEYS, 1]

    asyncio.run(scenario())


def test_all_who_wait_hear_of_an_error() -> None:
    """An error reaches everybody of its question and nobody of the next; who has gone is not missed."""

    async def scenario() -> None:
        questions = Questions()
        joiner = Joiner(questions.fetch)
        gone, there = asyncio.create_task(joiner.get("a")), asyncio.create_task(joiner.get("b"))
        await turns()
        gone.cancel()
        next_one = asyncio.create_task(joiner.get("a"))
        await turns()
        await questions.fail(Unavailable("PostgreSQL"))
        await questions.answer({"a": 7})
        with pytest.raises(Unavailable):
            await there
        assert await next_one == 7

    asyncio.run(scenario())


@given(st.lists(st.one_of(st.sampled_from("abcd"), st.none()), max_size=30))
def test_every_call_sees_the_time_after_it(steps: list[str | None]) -> None:
    """Whatever the order of calls (letters) and answers (None), each call gets what was true after it began."""

    async def scenario() -> None:
        questions = Questions()
        joiner = Joiner(questions.fetch)
        calls: list[tuple[int, asyncio.Task[int | None]]] = []
        answered = 0
        for now, step in enumerate([*steps, None, None]):
            if step is not None:
                calls.append((now, asyncio.create_task(joiner.get(step))))
                await turns()
            elif answered < len(questions.asked):
                sent_at = times[answered]
                answered += 1
                await questions.answer(dict.fromkeys("abcd", sent_at))
            times.extend([now] * (len(questions.asked) - len(times)))
        for begun, call in calls:
            seen = await call
            assert seen is not None
            assert seen >= begun

    times: list[int] = []
    asyncio.run(scenario())


PLACES = [RecordCoordinates("t", 0, n) for n in range(3)]


def test_waiters_share_a_question() -> None:
    """All who wait are asked for together, and each is told its own outcome."""
    asked: list[list[RecordCoordinates]] = []

    async def fetch(places: Sequence[RecordCoordinates]) -> dict[RecordCoordinates, RecordOutcome]:
        asked.append(list(places))
        return {place: CREATED._replace(order_uid=str(place.offset)) for place in places}

    async def scenario() -> list[RecordOutcome | None]:
        outcomes = Outcomes(fetch, monotonic)
        return await asyncio.gather(*(outcomes.wait(place, 5) for place in PLACES))

    told = asyncio.run(scenario())
    assert [t and t.order_uid for t in told] == ["0", "1", "2"]
    assert asked == [PLACES]


def test_no_outcome_in_time() -> None:
    """Who waits for longer than allowed is told nothing, and an outage of PostgreSQL is only a wait."""

    async def fetch(_: Sequence[RecordCoordinates]) -> dict[RecordCoordinates, RecordOutcome]:
        raise Unavailable("PostgreSQL")

    async def scenario() -> RecordOutcome | None:
        return await Outcomes(fetch, monotonic).wait(PLACES[0], 0.05)

    assert asyncio.run(scenario()) is None


def test_nobody_is_asked_for_after_the_last_has_gone() -> None:
    """The questions end with the waiters, and begin again with the next."""
    asked = 0

    async def fetch(_: Sequence[RecordCoordinates]) -> dict[RecordCoordinates, RecordOutcome]:
        nonlocal asked
        asked += 1
        return {PLACES[0]: CREATED} if asked >= 2 else {}

    async def scenario() -> None:
        outcomes = Outcomes(fetch, monotonic)
        assert await outcomes.wait(PLACES[0], 5) == CREATED
        while len(asyncio.all_tasks()) > 1:
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        assert asked == 2
        assert await outcomes.wait(PLACES[0], 5) == CREATED

    asyncio.run(scenario())


@given(st.floats(0, 100), st.floats(0, 100))
def test_pause_grows_with_the_wait(one: float, other: float) -> None:
    """The longer nobody new has come, the longer the pause, within its bounds."""
    pauses = []
    for age in sorted((one, other)):
        outcomes = Outcomes(lambda _: asyncio.sleep(0, {}), lambda age=age: age)  # type: ignore[misc] # a clock
        pauses.append(outcomes._pause())
    assert SHORTEST_PAUSE <= pauses[0] <= pauses[1] <= LONGEST_PAUSE


def test_a_question_that_is_not_answered_in_time() -> None:
    """`Unavailable` comes in time though the question itself cannot be stopped."""

    async def scenario() -> None:
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        with pytest.raises(Unavailable):
            await in_time(never, 0.01)
        assert not never.cancelled()
        assert await in_time(asyncio.sleep(0, 5), 1) == 5

    asyncio.run(scenario())


def test_a_bug_in_a_late_answer_is_seen_and_an_outage_is_not_one() -> None:
    """Anyone who asked has gone."""
    seen: list[Exception] = []

    async def late(error: Exception) -> None:
        await asyncio.sleep(0.02)
        raise error

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, found: seen.append(found["exception"]))
        for error in (Unavailable("PostgreSQL"), ZeroDivisionError()):
            with pytest.raises(Unavailable):
                await in_time(late(error), 0.001)
        await asyncio.sleep(0.05)

    asyncio.run(scenario())
    assert [type(each) for each in seen] == [ZeroDivisionError]


def test_a_gate_lets_as_many_wait_as_may_and_forgets_who_left() -> None:
    gate = Gate(2)
    with gate.enter():
        with gate.enter(), pytest.raises(Busy, match=r"^2 requests wait already"), gate.enter():
            raise AssertionError("a third was let in")
        with suppress(ValueError), gate.enter():
            raise ValueError
        with gate.enter():
            pass
