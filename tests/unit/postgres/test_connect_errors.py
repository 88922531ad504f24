"""What libpq says where it gets no connection, as one sentence with the next step, and nothing confidential in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.postgres.connect_errors import refusal

SERVER = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ('password authentication failed for user "u"', "correct the user or the password in the connection string"),
        (
            "SSL error: certificate verify failed",
            "name the CA that signed the server's certificate as sslrootcert in the connection string",
        ),
        (
            'root certificate file "/nowhere.pem" does not exist',
            "name a file with the CA's certificate as sslrootcert in the connection string",
        ),
        (
            'no pg_hba.conf entry for host "10.0.0.1", user "u", database "d", no encryption',
            "the server wants TLS: add sslmode=verify-full and sslrootcert to the connection string",
        ),
        (
            "channel binding required, but SSL not in use",
            "let the server ask for SCRAM over TLS, or correct channel_binding in the connection string",
        ),
        ('permission denied for database "orders"', "grant the role the right to connect, and to log in"),
    ],
)
@pytest.mark.parametrize(
    "lead",
    [
        f"{SERVER}FATAL:  ",
        SERVER,
        'connection to server on socket "/run/.s.PGSQL.5432" failed: FATAL:  ',
        f"Multiple connection attempts failed. All failures were:\n- host: 'db', port: 5432, hostaddr: '::1': {SERVER}",
    ],
)
def test_a_refusal_is_what_was_said_and_the_next_step(lead: str, said: str, advice: str) -> None:
    assert refusal(f"{lead}{said}\nEither provide more, or less.") == f"{said}: {advice}"


def test_a_value_that_libpq_does_not_know_is_shown() -> None:
    shown = 'invalid sslmode value: "hello": correct the values that begin with ssl in the connection string'
    assert refusal('connection is bad: invalid sslmode value: "hello"') == shown


def test_of_several_tries_the_one_that_says_most_counts() -> None:
    # sslmode=prefer tries again without TLS after a wrong password, and is told that it needs TLS.
    tries = f"{SERVER}FATAL:  password authentication failed\n{SERVER}FATAL:  no pg_hba.conf entry, no encryption"
    assert refusal(tries).startswith("password authentication failed: ")


@pytest.mark.parametrize("said", ["Connection refused", "timeout expired", "FATAL:  the database is starting up"])
def test_an_outage_is_no_refusal(said: str) -> None:
    assert refusal(f"{SERVER}{said}") == ""


@given(st.text(st.characters(exclude_characters='"', exclude_categories=["Cc", "Zl", "Zp"])), st.sampled_from("&;=@"))
def test_a_string_that_was_put_together_wrongly_is_not_repeated(secret: str, mark: str) -> None:
    # `…/orders&password=…` in place of `?password=…` asks for a database of that whole name.
    said = f'{SERVER}FATAL:  database "orders{mark}<{secret}>" does not exist'
    assert refusal(said) == "database (hidden) does not exist: make what is missing, or correct the connection string"
