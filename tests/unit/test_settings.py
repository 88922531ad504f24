"""The table of settings: where values come from, what is refused, what may be shown."""

import re
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from orders.errors import UsageError
from orders.settings import OPTIONS, Settings, environment, load, option, variable, without_password

NAMES = Settings.__struct_fields__
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


def test_every_setting_has_help_in_plain_words() -> None:
    hints = get_type_hints(Settings, include_extras=True)
    for name in NAMES:
        texts = [meta.description for meta in get_args(hints[name])[1:] if isinstance(meta, Meta) and meta.description]
        assert len(texts) == 1, name
        assert texts[0][0].islower(), name


def test_every_setting_is_an_option_of_some_command() -> None:
    assert {name for names in OPTIONS.values() for name in names} == set(NAMES)


def test_every_option_names_a_setting_once() -> None:
    for command, names in OPTIONS.items():
        assert set(names) <= set(NAMES), command
        assert len(set(names)) == len(names), command


def test_an_option_wins_over_the_environment_and_that_over_a_running_system() -> None:
    running = {"http_port": 1, "http_workers": 1, "kafka_topic": "running"}
    settings = load({"ORDERS_HTTP_PORT": "2", "ORDERS_HTTP_WORKERS": "2"}, {"http_port": "3"}, running)
    assert (settings.http_port, settings.http_workers, settings.kafka_topic) == (3, 2, "running")


def test_an_empty_variable_and_an_option_that_was_not_given_count_as_unset() -> None:
    assert load({"ORDERS_HTTP_PORT": ""}, {"http_port": None}) == Settings()


def test_the_message_names_where_a_wrong_value_came_from() -> None:
    with pytest.raises(UsageError, match=r"^ORDERS_HTTP_PORT: expected `int` <= 65535"):
        load({"ORDERS_HTTP_PORT": "70000"})
    with pytest.raises(UsageError, match=r"^--http-port: expected `int`, got `str`"):
        load({"ORDERS_HTTP_PORT": "80"}, {"http_port": "eighty"})
    with pytest.raises(UsageError, match=r"^ORDERS_DEFAULT_VIEW: invalid enum value 'other'"):
        load({"ORDERS_DEFAULT_VIEW": "other"})


@given(
    st.builds(
        Settings,
        http_host=TEXTS,
        http_port=st.integers(0, 65535),
        kafka_topic=TEXTS,
        batch_age=st.floats(min_value=1e-3, max_value=1e6),
        default_view=st.sampled_from(["standard", "original"]),
        postgres_dsn=TEXTS,
    )
)
def test_settings_reach_another_process_through_its_environment(settings: Settings) -> None:
    again = load(environment(settings))
    defaults = Settings()
    for name in NAMES:
        expected = getattr(settings, name)
        assert getattr(again, name) == (getattr(defaults, name) if expected == "" else expected)


@given(st.sampled_from(NAMES))
def test_names_of_options_and_variables_are_those_of_the_settings(name: str) -> None:
    assert re.fullmatch(r"--[a-z-]+", option(name))
    assert variable(name).removeprefix("ORDERS_").lower() == option(name)[2:].replace("-", "_") == name


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
        ("host=db password = 'it\\'s a secret' user=u", "host=db user=u"),
        ("host=db sslpassword=x PASSWORD=y", "host=db"),
        ("", ""),
    ],
)
def test_connection_strings_as_they_are_shown(dsn: str, shown: str) -> None:
    assert without_password(dsn) == shown
