"""The settings file: where it is found, what may stand in it, and one sentence for what may not."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orders.errors import UsageError
from orders.settings import Settings, load

SECRET = "hunter2"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def written(home: Path, text: str | bytes) -> Settings:
    """The settings of a home with this file."""
    (home / "orders.toml").write_bytes(text.encode() if isinstance(text, str) else text)
    return load({"ORDERS_HOME": str(home)})


def refused(home: Path, text: str | bytes) -> str:
    """What is said of a file, after its path."""
    with pytest.raises(UsageError) as error:
        written(home, text)
    said = str(error.value)
    assert SECRET not in said
    assert said.isprintable()
    assert str(home / "orders.toml") in said
    return said.replace(str(home / "orders.toml"), "FILE")


def test_keys_are_the_names_of_the_settings(home: Path) -> None:
    settings = written(home, 'http_port = 9000\nbatch_age = 1\nkafka_topic = "theirs"\ndefault_view = "original"\n')
    assert (settings.http_port, settings.batch_age, settings.kafka_topic) == (9000, 1.0, "theirs")
    assert settings.default_view == "original"


def test_kafka_properties_are_a_table_whose_names_may_be_quoted_or_not(home: Path) -> None:
    settings = written(
        home,
        "[kafka_properties]\n"
        '"sasl.username" = "us"\n'
        'sasl.password = "hunter2"\n'
        "socket.keepalive.enable = true\n"
        '"socket.timeout.ms" = 5000\n'
        '"client.rack" = ""\n'
        "log_level = 3\n",
    )
    assert settings.kafka_properties == {
        "log_level": "3",
        "sasl.password": "hunter2",
        "sasl.username": "us",
        "socket.keepalive.enable": "true",
        "socket.timeout.ms": "5000",
    }


def test_an_alias_becomes_what_it_stands_for(home: Path) -> None:
    settings = written(home, 'kafka_properties = { "sasl.mechanism" = "PLAIN" }')
    assert settings.kafka_properties == {"sasl.mechanisms": "PLAIN"}
    both = 'kafka_properties = { "sasl.mechanism" = "PLAIN", "sasl.mechanisms" = "PLAIN" }'
    assert refused(home, both) == (
        'FILE: kafka_properties."sasl.mechanism" and FILE: kafka_properties."sasl.mechanisms" give the same: '
        "leave one of them out"
    )


def test_paths_in_the_file_begin_where_the_file_is(home: Path) -> None:
    (home / "secret").write_text("dbname=x")
    settings = written(
        home,
        'data_dir = "data"\npostgres_dsn_file = "secret"\nmemory_path = "/memory"\n'
        '[kafka_properties]\nssl.ca.location = "ca.pem"\nhttps.ca.location = "probe"\nssl.key.location = "/k.pem"\n',
    )
    assert settings.data_dir == str(home / "data")
    assert settings.postgres_dsn == "dbname=x"
    assert settings.memory_path == "/memory"
    assert settings.kafka_properties == {
        "https.ca.location": "probe",
        "ssl.ca.location": str(home / "ca.pem"),
        "ssl.key.location": "/k.pem",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http_port = 9000\nhttp_prot = 1\n", "FILE: http_prot is not a setting (did you mean http_port?); `orders"),
        ("http-port = 1\n", "FILE: http-port is not a setting (did you mean http_port?)"),
        ("zzz = 1\n", "FILE: zzz is not a setting; `orders run --help` lists them"),
        ("[http]\nport = 1\n", "FILE: http is not a setting"),
        ("[kafka_properties]\nsasl.passwrd = 'hunter2'\n", '(did you mean kafka_properties."sasl.password"?)'),
        ("[kafka_properties]\n'\\u001b[2J' = 1\n", "FILE: kafka_properties."),
        ("kafka_properties = 'hunter2'\n", "FILE: kafka_properties must be a table, [kafka_properties]"),
        ("[kafka_properties]\nacks = 0\n", 'FILE: kafka_properties."acks" is refused: what Kafka acknowledged'),
        ("[kafka_properties]\n'socket.timeout.ms' = 1.5\n", "must be text, a whole number, true or false"),
        ("[kafka_properties]\n'sasl.username' = ['hunter2']\n", "must be text, a whole number, true or false"),
        (f"[kafka_properties]\n'socket.timeout.ms' = 0x1{'0' * 5000}\n", "must be text, a whole number, true or false"),
        (f"http_port = 0x1{'0' * 5000}\n", "FILE: http_port must be a whole number from 0 to 65535"),
        ("http_port = true\n", "FILE: http_port must be a whole number from 0 to 65535"),
        ("http_port = 9000.0\n", "FILE: http_port must be a whole number from 0 to 65535"),
        ("http_port = 'hunter2'\n", "FILE: http_port must be a whole number from 0 to 65535"),
        ("http_port = 65536\n", "FILE: http_port must be a whole number from 0 to 65535"),
        ("http_port = [1]\n", "FILE: http_port must be a whole number from 0 to 65535"),
        ("batch_age = inf\n", "FILE: batch_age must be a number above 0, up to 86400"),
        ("batch_age = nan\n", "FILE: batch_age must be a number above 0, up to 86400"),
        ("kafka_topic = 5\n", "FILE: kafka_topic must be text that is not empty"),
        ("kafka_topic = ''\n", "FILE: kafka_topic must be text that is not empty"),
        ("data_dir = ''\n", "FILE: data_dir must be a path that is not empty"),
        ("kafka_topic = 2026-01-01\n", "FILE: kafka_topic must be text that is not empty"),
        ("log_level = 'hunter2'\n", "FILE: log_level must be debug, info, warning or error"),
        ('kafka_topic = "\\u0000"\n', "FILE: kafka_topic holds a NUL character"),
        ("postgres_dsn_file = 5\n", "FILE: postgres_dsn_file must be the path of a file"),
        ("postgres_dsn = 'a'\npostgres_dsn_file = 'b'\n", "cannot be read (No such file or directory)"),
        (
            "http_port = 1\nhttp_port 2\n",
            "FILE is not valid TOML: Expected '=' after a key in a key/value pair (at line 2",
        ),
        ("http_port = 1\nhttp_port = 2\n", "FILE is not valid TOML: Cannot overwrite a value (at "),
        (b"kafka_topic = '\xff'", "FILE is not UTF-8 text: save it as UTF-8"),
        ("http_port = " + "1" * 5000, "FILE is not valid TOML: "),
        ("http_port = " + "[" * 5000, "FILE is not valid TOML: "),
    ],
)
def test_what_is_wrong_is_one_sentence_with_file_and_key(home: Path, text: str | bytes, said: str) -> None:
    assert said in refused(home, text)


def test_a_file_that_windows_wrote_is_read(home: Path) -> None:
    assert written(home, b"\xef\xbb\xbfhttp_port = 9000\r\nhttp_workers = 2\r\n").http_port == 9000


def test_no_file_is_no_mistake_but_a_named_one_must_be_there(home: Path) -> None:
    missing = home / "missing.toml"
    assert load({"ORDERS_HOME": str(home)}).http_port == 8080
    with pytest.raises(UsageError, match=f"^ORDERS_SETTINGS_FILE: there is no file {missing}$"):
        load({"ORDERS_SETTINGS_FILE": str(missing)})


def test_a_named_file_is_read_instead_of_the_one_at_home(home: Path) -> None:
    (home / "orders.toml").write_text("this is no TOML")
    (home / "other.toml").write_text("http_port = 9000")
    variables = {"ORDERS_HOME": str(home), "ORDERS_SETTINGS_FILE": str(home / "other.toml")}
    assert load(variables).http_port == 9000


def test_the_working_directory_is_the_home_if_none_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "orders.toml").write_text("http_port = 9000")
    monkeypatch.chdir(home)
    assert load({}).http_port == 9000
    assert load({}).data_dir == str(home / ".orders")
    assert load({"ORDERS_HOME": ""}).http_port == 9000


def test_the_data_directory_is_at_home_unless_it_is_given(home: Path) -> None:
    here = Path.cwd()
    assert load({"ORDERS_HOME": str(home)}).data_dir == str(home / ".orders")
    assert load({"ORDERS_HOME": str(home), "ORDERS_DATA_DIR": "data"}).data_dir == str(here / "data")
    assert load({"ORDERS_HOME": str(home)}, {"data_dir": "data"}).data_dir == str(here / "data")
    assert load({"ORDERS_HOME": os.path.relpath(home)}).data_dir == str(here / os.path.relpath(home) / ".orders")


def test_a_home_that_is_none_and_a_file_that_cannot_be_read_are_named(home: Path) -> None:
    for name in ("no", "x" * 300):
        with pytest.raises(
            UsageError, match=f"^ORDERS_HOME: {home}/{name} is not a directory that this user can enter$"
        ):
            load({"ORDERS_HOME": str(home / name)})
    (home / "orders.toml").mkdir()
    with pytest.raises(UsageError, match=r"orders.toml cannot be read \(Is a directory\)$"):
        load({"ORDERS_HOME": str(home)})


def test_a_working_directory_that_is_gone_is_one_sentence_and_none_where_it_is_not_needed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "gone").mkdir()
    monkeypatch.chdir(home / "gone")
    (home / "gone").rmdir()
    assert load({"ORDERS_SETTINGS_FILE": os.devnull, "ORDERS_DATA_DIR": "/data"}).data_dir == "/data"
    with pytest.raises(UsageError, match=r"^the working directory is gone: change to another one$"):
        load({"ORDERS_SETTINGS_FILE": os.devnull, "ORDERS_DATA_DIR": "data"})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from(["http_port", "kafka_topic", "batch_age", "postgres_dsn_file", "kafka_properties", "x"])


@given(st.dictionaries(NAMES, VALUES, max_size=3), st.binary(max_size=20))
@example({}, b"\r")
def test_any_file_gives_settings_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any], rest: bytes
) -> None:
    home = tmp_path_factory.mktemp("home")
    lines = [f"{name} = {toml(value)}" for name, value in values.items()]
    (home / "orders.toml").write_bytes("\n".join([*lines, ""]).encode("utf-8", "surrogatepass") + rest)
    assert outcome({"ORDERS_HOME": str(home)}).isprintable()


def outcome(variables: dict[str, str]) -> str:
    """The settings, or what is said of them."""
    try:
        return repr(load(variables))
    except UsageError as error:
        return str(error)


def toml(value: Any) -> str:
    """Near enough to TOML for most values; the rest is malformed."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(name)} = {toml(each)}" for name, each in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool | float) else repr(value)
