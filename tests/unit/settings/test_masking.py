"""What may be shown of connection strings, and of text from outside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from orders.settings import without_password
from orders.settings.secrets import plain

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
PASSWORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12).map(
    "pw:{}:pw".format
)


@given(PASSWORDS, TEXTS, TEXTS)
def test_keywords_lose_their_password_and_nothing_else(password: str, user: str, dbname: str) -> None:
    others = {name: value for name, value in {"host": "db", "user": user, "dbname": dbname}.items() if value}
    dsn = make_conninfo(**others, password=password)
    assert conninfo_to_dict(without_password(dsn)) == conninfo_to_dict(make_conninfo(**others))


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0@"), min_size=1, max_size=12))
def test_urls_lose_their_password(password: str) -> None:
    secret = f"pw{password}pw"
    for dsn in (f"postgresql://user:{secret}@db:5432/orders?sslmode=require", f"postgres://u:{secret}@db"):
        shown = without_password(dsn)
        assert secret not in shown
        assert shown in {"postgresql://user@db:5432/orders?sslmode=require", "postgres://u@db"}


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://db:5432/orders", "postgresql://db:5432/orders"),
        ("postgresql://user@db/orders", "postgresql://user@db/orders"),
        ("postgresql://user:a@b:c@db/orders", "postgresql://user@db/orders"),
        (
            "postgresql://db/orders?user=u&password=p%20w&sslmode=require",
            "postgresql://db/orders?user=u&sslmode=require",
        ),
        ("postgresql://db/orders?password=a'b c", "postgresql://db/orders"),
        ("postgresql://db/orders?pass%77ord=a&user=u", "postgresql://db/orders?user=u"),
        ("postgresql://db/orders?scram_client_key=a&oauth_client_secret=b", "postgresql://db/orders"),
        ("host=db password = 'it\\'s a secret' user=u", "host=db user=u"),
        ("host=db sslpassword=x PASSWORD=y", "host=db"),
        ("host=db oauth_client_secret=x scram_server_key=y user=u", "host=db user=u"),
        ("", ""),
    ],
)
def test_connection_strings_as_they_are_shown(dsn: str, shown: str) -> None:
    assert without_password(dsn) == shown


@given(st.text())
def test_text_from_outside_breaks_no_line_and_moves_no_cursor(text: str) -> None:
    assert plain(text).isprintable()
    assert plain(text) == text or not text.isprintable()
