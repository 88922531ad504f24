"""What the log says: the plainest fold there is, one record after the other, to compare the service with."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from orders import sample
from support.simulation.kafka import CONTROL_RECORD, Said
from support.simulation.postgres import REFUSED_AMOUNT

SHARED = "shared"
"""The uid whose records come in every partition: which of them is last nobody can say."""
MOVING = "moving"
"""The uid, and the kind of its records, whose records come in the last partition that its producer knows of."""
POISONED = "poisoned"
"""Of a uid so named some orders are refused by PostgreSQL."""

_SAMPLE: dict[str, Any] = msgspec.json.decode(next(iter(sample.samples(1, 0))))


@lru_cache(10_000)
def value_of(order_uid: str, amount: int) -> bytes:
    """An order, valid and in its canonical form."""
    payment = _SAMPLE["payment"] | {"amount": amount}
    return msgspec.json.encode(_SAMPLE | {"order_uid": order_uid, "payment": payment, "items": _SAMPLE["items"][:1]})


class Truth(NamedTuple):
    """What a part of a partition's log means.

    `amounts` by uid of the orders that are there; offsets of dead letters that must be there, and of those that may:
    what is replaced in the batch that it came in never meets PostgreSQL. Outcomes by offset of what wants a reply.
    """

    amounts: dict[str, int]
    dead_letters: set[int]
    possible_dead_letters: set[int]
    outcomes: dict[int, str]


def truth_of(log: Sequence[Said]) -> Truth:
    """Folds the records of one partition; those of `SHARED` and `MOVING` are left out."""
    truth = Truth({}, set(), set(), {})
    for offset, said in enumerate(log):
        if said.kind == CONTROL_RECORD:
            continue
        outcome = outcome_of(said, truth.amounts)
        if outcome == "refused":
            overtaken = said.kind == "poison" and any(later.order_uid == said.order_uid for later in log[offset + 1 :])
            (truth.possible_dead_letters if overtaken else truth.dead_letters).add(offset)
        if said.wants_reply:
            truth.outcomes[offset] = outcome
    return truth


def outcome_of(said: Said, amounts: dict[str, int]) -> str:
    """The outcome of one record, after it changed `amounts` or not."""
    if said.kind == "invalid" or said.amount == REFUSED_AMOUNT:
        return "refused"
    if said.order_uid in {SHARED, MOVING} or amounts.get(said.order_uid) == said.amount:
        return "unchanged"
    there = said.order_uid in amounts
    if said.amount is None:
        del amounts[said.order_uid]
        return "deleted"
    if said.only_if_absent and there:
        return "conflict"
    amounts[said.order_uid] = said.amount
    return "replaced" if there else "created"


def last_of(logs: Iterable[Sequence[Said]], order_uid: str) -> set[int | None]:
    """The last amounts that the partitions have of a uid; None where it was deleted, or never was."""
    amounts = [[said.amount for said in log if said.order_uid == order_uid] for log in logs]
    return {each[-1] for each in amounts if each} or {None}
