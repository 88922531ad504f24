"""What the topic says against what PostgreSQL holds: records go into histories, then each order is judged."""

from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter

from orders import decoder
from orders.order import MAX_NESTING, Content
from orders.record import Condition, Entry, Invalid, Record
from orders.verify import dead_letters, history
from orders.verify.findings import Clue, Findings
from orders.verify.history import DELETED, Ground, Histories, History, Step, StoredRow, TopicExtent
from orders.verify.scratch import Scratch
from orders.verify.stored import Skips, digest_of

UNDECIDED = Condition(0)
"""In place of a condition that cannot be decided from the topic: no order has this version."""
CHANGING = frozenset((b"created", b"replaced", b"deleted"))
"""Outcomes after which the order is what the record says."""
ROW, HISTORIES = b"\0", b"\1"


class Comparison:
    """Takes the records of each partition in their order, then compares."""

    def __init__(self, scratch: Scratch, findings: Findings, skips: Skips, nesting: int = MAX_NESTING) -> None:
        self._nesting = nesting
        self._rows = scratch.tree("rows")
        self._histories = scratch.tree("histories")
        self._dead_letters = scratch.tree("dead_letters")
        self._refused = scratch.tree("refused")
        self._replays = scratch.tree("replays")
        self._findings = findings
        self._skips = skips

    # -- records --

    def take(self, record: Record) -> None:
        """The next record of its partition."""
        entry = decoder.read(record, self._nesting)
        place = dead_letters.place_key(record.partition, record.offset)
        kept, replayed = self._dead_letters.pop(place), self._replays.get(place)
        if kept is not None:
            self._dead_letter(entry, dead_letters.unpack(kept))
        elif replayed is not None:
            self._replayed_again(entry, replayed)
        elif isinstance(entry.content, Invalid):
            self._unkept(entry)
        else:
            self._follow(entry, self._condition(entry))

    def _dead_letter(self, entry: Entry, kept: dead_letters.DeadLetterDigest) -> None:
        """A record with a dead letter. If the decoder takes it, it was refused all the same, and changed nothing."""
        record = entry.record
        refused = not isinstance(entry.content, Invalid)
        if refused:
            self._refused.put(dead_letters.place_key(record.partition, record.offset), b"")
        if fields := kept.differing(record):
            self._findings.differ("dead letter differs", place=(record.partition, record.offset), fields=fields)
        elif refused and not kept.trial:
            self._findings.leave("other rules")

    def _replayed_again(self, entry: Entry, replayed: bytes) -> None:
        """One that replayed a dead letter: what became of it is kept. A refused one makes no second dead letter."""
        if replayed in CHANGING and not isinstance(entry.content, Invalid):
            self._follow(entry, None)

    def _unkept(self, entry: Entry) -> None:
        """An invalid record without a dead letter."""
        record = entry.record
        if entry.replay is not None:  # one that is sent twice has its outcome once
            self._findings.leave("replays")
        elif self._is_skipped(record):
            self._findings.leave("skipped")
        else:
            self._findings.differ("dead letter missing", place=(record.partition, record.offset))

    def _is_skipped(self, record: Record) -> bool:
        return any(span.begin <= record.offset < span.end for span in self._skips.get(record.partition, ()))

    def _condition(self, entry: Entry) -> Condition | None:
        """Under which condition a record changed anything; that of a replay is the age of what was stored."""
        undecided = entry.replay is not None or self._is_skipped(entry.record)
        return UNDECIDED if undecided else entry.condition

    def _follow(self, entry: Entry, condition: Condition | None) -> None:
        order_uid, digest = named(entry)
        key, record = order_uid.encode(), entry.record
        step = Step(record.offset, digest, condition, keyed=record.key == key)
        kept = self._histories.get(key)
        found = {each.partition: each for each in (history.unpack(kept) if kept else ())}
        found[record.partition] = found.get(record.partition, History(record.partition)).after(step)
        self._histories.put(key, history.pack(found.values()))

    # -- the comparison --

    def judge(self, topic: TopicExtent, advance: Callable[[int], None]) -> None:
        """Compares every order that was stored or sent; `advance` gets how many more rows were compared."""
        for key, sides in groupby(self._sides(), itemgetter(0)):
            found = {side: value for _, side, value in sides}
            self._judge(key, found.get(ROW), found.get(HISTORIES), topic)
            advance(int(ROW in found))
        for key, _ in self._dead_letters:
            self._unsent(*dead_letters.place_of(key), topic)

    def _sides(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        return merge(_labelled(self._rows, ROW), _labelled(self._histories, HISTORIES))

    def _judge(self, key: bytes, packed: bytes | None, kept: bytes | None, topic: TopicExtent) -> None:
        histories = Histories(history.unpack(kept or b""), topic)
        order_uid, clue = key.decode(), None
        if len(histories.each) > 1:
            self._findings.spreads(order_uid, tuple(sorted(each.partition for each in histories.each)))
        if packed is None:
            verdict, place = histories.without(), _last(histories)
        else:
            row = history.unpack_row(packed)
            place = (row.partition, row.offset)
            verdict = "refused" if row.ours and self._is_refused(place) else histories.judge(row)
            clue = clue_of(order_uid, histories, row)
        self._findings.take(verdict, order_uid=order_uid, place=place, clue=clue)

    def _is_refused(self, place: tuple[int, int]) -> bool:
        return self._refused.get(dead_letters.place_key(*place)) is not None

    def _unsent(self, partition: int, offset: int, topic: TopicExtent) -> None:
        """A dead letter for which no record came."""
        reason = without_record(topic.grounds.get(partition), offset)
        if reason:
            self._findings.leave(reason)
        else:
            self._findings.differ("dead letter unsent", place=(partition, offset))


def named(entry: Entry) -> tuple[str, bytes]:
    """Which order a valid entry is about, and the digest of what it makes of it."""
    if isinstance(entry.content, Content):
        return entry.content.row.order_uid, digest_of(entry.content.text)
    if isinstance(entry.content, Invalid):
        raise TypeError("an invalid message is about no order")
    return entry.content.order_uid, DELETED


def clue_of(order_uid: str, histories: Histories, row: StoredRow) -> Clue | None:
    """Which record says what the row should hold, if it is one."""
    if len(histories.each) != 1:
        return None
    (said,) = histories.each
    return None if said.loose or said.digest == DELETED else Clue(order_uid, said.partition, said.first, row.version)


def without_record(ground: Ground | None, offset: int) -> str | None:
    """Why a dead letter may be right for which no record came; None where it is not."""
    if ground is None or offset < 0 or offset >= ground.end:
        return None
    if offset < ground.low:
        return "retention"
    if offset >= ground.position:
        return "ahead"
    return None if ground.whole else "gaps"


def _last(histories: Histories) -> tuple[int, int] | None:
    """The place of a record of an order."""
    return next(((each.partition, each.first) for each in histories.each), None)


def _labelled(entries: Iterable[tuple[bytes, bytes]], side: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    return ((key, side, value) for key, value in entries)
