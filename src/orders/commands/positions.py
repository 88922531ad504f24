"""Where the partitions of a topic stand in PostgreSQL, for commands that look until something has happened."""

from typing import TYPE_CHECKING, NamedTuple

from orders.errors import OrdersError

if TYPE_CHECKING:
    from collections.abc import Callable

    from orders.postgres.connection import Connection

LOOK_SECONDS = 0.2
"""How often they look."""
INTERRUPTED = "interrupted"
"""Why a command ended on Ctrl-C."""


class PartitionProgress(NamedTuple):
    """Where a partition stands, and why it is stopped if it is."""

    offset: int
    stop: str | None = None


class StoredPositions:
    """The partitions of one topic; a connection that failed is opened again."""

    def __init__(self, connect: "Callable[[], Connection]", topic: str, topic_id: str) -> None:
        self._connect = connect
        self._topic = topic
        self._topic_id = topic_id
        self._connection: Connection | None = None

    @property
    def connection(self) -> "Connection":
        """The one that is open, or a new one. Raises our errors."""
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def read(self) -> dict[int, PartitionProgress]:
        """Where each stands; where all are of an older topic of that name, that is why they are stopped.

        Raises our errors.
        """
        from orders.postgres.connection import queries, translated  # noqa: PLC0415 - PostgreSQL, once it is asked

        try:
            with translated():
                rows = self.connection.execute(queries["places_of_topic"], {"topic": self._topic}).fetchall()
        except OrdersError:
            self.close()
            raise
        places = {
            partition: PartitionProgress(offset, None if stop is None else reason)
            for topic_id, partition, offset, _, stop, reason, *_ in rows
            if topic_id == self._topic_id
        }
        if rows and not places:
            from orders.kafka.topic import recreated  # noqa: PLC0415 - Kafka's client, for this answer alone

            places = dict.fromkeys((row[1] for row in rows), PartitionProgress(0, recreated(self._topic)))
        return places

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
