"""The times that keep a transaction of ingest under the rule of memory, and the inequality that they must satisfy.

Ingest fences the orders that it changes, then commits (`memory.coherence`, docs/decisions/0004). A read that began just
before the commit became visible may be put for `FRESH` seconds more; the fence must still hold then. So, from fence to
commit:

    SENDING + ANSWERING + MARGIN  <=  LIFE - FRESH

* `SENDING`: COMMIT reaches PostgreSQL at most so long after the fence. Ingest looks at its own clock before it sends
  (`FENCE`, `ingest.writer.Writer.commit`). A process that is stopped after that look, or a network that delays the
  bytes, is bounded by PostgreSQL, which ends a session that is idle in its transaction (`IDLE`, `connection.connect`).
* `ANSWERING`: ingest waits for the answer as for that of any statement (`STATEMENT`, `SILENT`, `connection.connect`);
  without one it does not know what became of COMMIT.

PostgreSQL does not bound COMMIT by `statement_timeout`, which it turns off before (`finish_xact_command` in its
`tcop/postgres.c`; tried on 18.6 with a deferred trigger). From 17 on `transaction_timeout` (`TRANSACTION`) ends it, but
nothing does once the disk does not take its write-ahead log. So for as long as ingest does not know what became of a
COMMIT, it sets its fences again at each try; such tries are at most `RETRIED` apart:

    RETRIED + MARGIN  <=  LIFE - FRESH

With a `FRESH` of 30 s the margin was zero. It is the one time that costs nothing to shorten: a read is put within
milliseconds, and one that took longer is put the next time.
"""

FRESH = 25.0
"""Seconds after which what was read or committed is no longer put (`memory.coherence.is_fresh`)."""

LIFE = 60.0
"""Seconds for which fences and minimum versions hold (`memory.coherence.holds`)."""

FENCE = 10.0
"""Seconds for which a fence may be set before COMMIT is sent."""

IDLE = 10.0
"""Seconds for which a session may be idle in a transaction (`idle_in_transaction_session_timeout`)."""

LOCK = 10.0
"""Seconds for which a statement waits for a lock (`lock_timeout`)."""

STATEMENT = 15.0
"""Seconds that a statement of ingest may take (`statement_timeout`)."""

SILENT = 5.0
"""Seconds that an answer is awaited beyond the statement's own time-out: then nobody is there any more."""

CONNECT = 5.0
"""Seconds that a new connection may take (`connect_timeout`)."""

BACKOFF = 5.0
"""The longest pause between two tries (`timing.backoff`)."""

TRANSACTION = LOCK + STATEMENT
"""Seconds that a whole transaction of ingest may take: the longest wait for a lock and the longest statement.

PostgreSQL 17 ends one that takes longer (`transaction_timeout`), else another writer does
(`ingest.store.connect_writer`). It bounds how long a process that was stopped holds its locks where no idle transaction
is seen (`Transaction.advance`).
"""

MARGIN = 5.0
"""Seconds that must be left: for clocks that are read one after the other, and processes that wait for a processor."""

SENDING = max(FENCE, IDLE)
ANSWERING = STATEMENT + SILENT
RETRIED = BACKOFF + CONNECT + ANSWERING
"""Between two tries: the pause, a new connection, and a first statement that is not answered."""
