"""The runbook's SQL runs on the schema."""

from pathlib import Path

import psycopg

from orders.postgres.migrations import migrate

RUNBOOK = Path(__file__).parents[2] / "docs/runbook.md"


def test_the_runbooks_sql_runs(postgres_dsn: str) -> None:
    """As an ordinary reader: nothing of it writes."""
    migrate(postgres_dsn)
    found = blocks(RUNBOOK.read_text())
    assert found
    for block in found:
        with psycopg.connect(postgres_dsn) as connection:
            connection.read_only = True
            connection.execute(block.encode())


def blocks(text: str) -> list[str]:
    return [part.partition("```")[0] for part in text.split("```sql\n")[1:]]
