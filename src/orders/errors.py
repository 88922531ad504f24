"""Every error of ours, as a tree; the class alone decides what happens next.

OrdersError
├── Unavailable            something is unavailable (PostgreSQL, Kafka, memory): keep everything, try again later
├── Busy            too many wait for the same already: nobody is kept waiting longer, try again later
├── IndexBuilding   a search needs an index that is still being built: try again later
├── NotIndexed      a search needs an index that nobody has made: it is made by hand, or something else is searched for
├── Misconfigured      something is misconfigured: stop consuming, say so, continue when fixed
│   ├── Forbidden   PostgreSQL denies the role a permission
│   └── TooLarge    Kafka's client or its brokers refuse one record for its size: others may pass
├── Rejected        PostgreSQL would not take what a transaction holds; trial finds the record to blame
│   └── Collided    another transaction was at the same order: the same again passes, no record is to blame
├── PositionsMoved  the stored positions are not where a batch begins: nothing is written, read again from them
├── UsageError      the caller's mistake: one sentence with the next step, exit status 2
└── StartError      a service could not be started or is not ours: one sentence, exit status 1

A message that is bad is not an error here but a value (`record.Invalid`): it becomes a dead letter or a 422.
Foreign errors (psycopg, librdkafka, LMDB) are translated once, in the module that knows the library.
"""


class OrdersError(Exception):
    """Base of all; its text is one sentence for a person, without personal data or secrets."""


class Unavailable(OrdersError):
    """Something we need is unavailable: nothing is lost, the same step is tried again with backoff."""


class Busy(OrdersError):
    """As many wait for this as may: nothing was begun, the client comes again."""


class IndexBuilding(OrdersError):
    """A search needs an index that PostgreSQL still builds; without it, it would read every order."""


class NotIndexed(OrdersError):
    """A search needs an index that is made by hand where it is wanted, and is not there; `field` is what it is for."""

    def __init__(self, field: str) -> None:
        super().__init__("Has no index in PostgreSQL: docs/search.md has the statement that makes one")
        self.field = field


class Misconfigured(OrdersError):
    """Something is misconfigured (right, schema, topic, login): consumption stops until it is fixed."""


class Forbidden(Misconfigured):
    """The role may not do this in PostgreSQL; somebody grants it, or another role does it."""


class TooLarge(Misconfigured):
    """One record is larger than Kafka's client sends or the topic takes; it is not in Kafka."""


class Rejected(OrdersError):
    """A transaction failed for what it holds: its halves are tried until the record to blame stands alone."""


class Collided(Rejected):
    """Two transactions made the same order at the same time; the one that failed finds it when it tries again."""


class PositionsMoved(OrdersError):
    """Somebody else wrote these records, or our own commit's reply was lost: seek to the stored positions."""


class UsageError(OrdersError):
    """The caller asked for something that cannot be; the text says what to do instead."""


class StartError(OrdersError):
    """A service could not be started; the text says why and what to do."""
