"""Where values come from, what is refused, and what another process is told."""

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta
from msgspec.structs import asdict

from orders.errors import UsageError
from orders.settings import (
    OPTIONS,
    SPECIAL,
    Effective,
    Settings,
    environment,
    explain,
    inherited,
    load,
    option,
    property_variable,
    public,
    variable,
)
from orders.settings.properties import givable, is_path, is_secret, known
from orders.settings.table import NAMES, SECRETS, SIMPLE, allowed, kinds

SECRET = "hunter2"
DSN = f"host=db password={SECRET} user=us"
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


# ---- the table ----


def test_every_setting_has_help_in_plain_words() -> None:
    for name in NAMES:
        metas = get_args(kinds()[name])[1:]
        texts = [meta.description for meta in metas if isinstance(meta, Meta) and meta.description]
        assert len(texts) == 1, name
        assert texts[0][0].islower(), name


def test_every_setting_is_an_option_of_some_command() -> None:
    assert {name for names in OPTIONS.values() for name in names} == set(SIMPLE)


def test_every_option_names_a_setting_once() -> None:
    for command, names in OPTIONS.items():
        assert set(names) <= set(SIMPLE), command
        assert len(set(names)) == len(names), command


@given(st.sampled_from(SIMPLE))
def test_names_of_options_and_variables_are_those_of_the_settings(name: str) -> None:
    assert re.fullmatch(r"--[a-z-]+", option(name))
    assert variable(name).removeprefix("ORDERS_").lower() == option(name)[2:].replace("-", "_") == name


def test_no_variable_means_two_things() -> None:
    # A new setting `kafka_…` must not hide a property of that name, nor the file of a secret.
    ours = [variable(name) for name in SIMPLE] + [f"{variable(name)}_FILE" for name in SECRETS] + [*SPECIAL]
    theirs = [property_variable(name) for name in known()]
    files = [f"{property_variable(name)}_FILE" for name in known() if is_secret(name)]
    assert len({*ours, *theirs, *files}) == len(ours) + len(theirs) + len(files)


def test_limits_in_plain_words() -> None:
    assert allowed("http_port") == "a whole number from 0 to 65535"
    assert allowed("batch_age") == "a number above 0, up to 86400"
    assert allowed("kafka_session_timeout") == "a number from 1 to 3600"
    assert allowed("log_format") == "console or json"
    assert allowed("kafka_topic") == "text that is not empty"
    assert allowed("postgres_dsn") == "text"
    assert allowed("memory_path") == "a path"
    assert all(allowed(name) for name in SIMPLE)


# ---- precedence ----


def test_option_before_variable_before_file_before_running_system_before_default(tmp_path: Path) -> None:
    (tmp_path / "orders.toml").write_text("http_port = 3\nhttp_workers = 3\ningest_processes = 3\n")
    variables = {"ORDERS_HOME": str(tmp_path), "ORDERS_HTTP_PORT": "2", "ORDERS_HTTP_WORKERS": "2"}
    running = {"http_port": 4, "http_workers": 4, "ingest_processes": 4, "kafka_topic": "running"}
    settings = load(variables, {"http_port": "1"}, running)
    assert (settings.http_port, settings.http_workers, settings.ingest_processes) == (1, 2, 3)
    assert (settings.kafka_topic, settings.kafka_group) == ("running", "orders")


def test_kafka_properties_have_their_precedence_each(tmp_path: Path) -> None:
    (tmp_path / "orders.toml").write_text("[kafka_properties]\nclient.rack='file'\nsasl.username='file'\n")
    running = {"kafka_bootstrap": "b:1", "kafka_properties": {"client.rack": "theirs", "security.protocol": "ssl"}}
    variables = {"ORDERS_HOME": str(tmp_path), "ORDERS_KAFKA_SASL_USERNAME": "variable"}
    assert load(variables, {}, running).kafka_properties == {
        "client.rack": "file",
        "sasl.username": "variable",
        "security.protocol": "ssl",
    }


def test_a_running_systems_kafka_properties_are_not_for_other_brokers() -> None:
    running = {"kafka_bootstrap": "theirs:1", "kafka_properties": {"sasl.username": "us"}}
    assert load({}, {"kafka_bootstrap": "others:1"}, running).kafka_properties == {}
    assert load({}, {"kafka_bootstrap": "theirs:1"}, running).kafka_properties == {"sasl.username": "us"}


def test_an_empty_variable_and_an_option_that_was_not_given_count_as_unset() -> None:
    names = ("HTTP_PORT", "NO_SUCH", "KAFKA_CLIENT_RACK", "POSTGRES_DSN_FILE", "HOME", "SETTINGS_FILE")
    given = {f"ORDERS_{name}": "" for name in names}
    assert load(given, {"http_port": None}) == load({}) == Settings(data_dir=str(Path.cwd() / ".orders"))


def test_kafkas_clients_are_given_the_brokers_and_the_properties() -> None:
    settings = load({"ORDERS_KAFKA_BOOTSTRAP": "b:1", "ORDERS_KAFKA_SECURITY_PROTOCOL": "ssl"})
    assert settings.kafka == {"bootstrap.servers": "b:1", "security.protocol": "ssl"}


def test_what_a_running_system_of_another_version_has_more_is_left() -> None:
    running = {"http_port": 1, "no_longer": 2, "kafka_properties": {"no.longer": "x"}}
    assert load({}, {}, running) == load({"ORDERS_HTTP_PORT": "1"})


# ---- what is refused ----


def test_a_wrong_value_is_named_by_where_it_came_from_and_not_shown() -> None:
    for variables, options, said in (
        ({"ORDERS_HTTP_PORT": "70000"}, {}, "ORDERS_HTTP_PORT must be a whole number from 0 to 65535"),
        ({"ORDERS_HTTP_PORT": "80"}, {"http_port": SECRET}, "--http-port must be a whole number from 0 to 65535"),
        ({"ORDERS_DEFAULT_VIEW": SECRET}, {}, "ORDERS_DEFAULT_VIEW must be standard or original"),
        ({"ORDERS_BATCH_AGE": "inf"}, {}, "ORDERS_BATCH_AGE must be a number above 0, up to 86400"),
        ({"ORDERS_HTTP_WORKERS": "1" * 5000}, {}, "ORDERS_HTTP_WORKERS must be a whole number from 1 to 1000000"),
        ({}, {"data_dir": ""}, "--data-dir must be a path that is not empty"),
        ({"ORDERS_KAFKA_TOPIC": "\udcff"}, {}, "ORDERS_KAFKA_TOPIC is not UTF-8 text"),
    ):
        with pytest.raises(UsageError) as error:
            load(variables, options)
        assert str(error.value) == said


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["HTPP_PORT"], "ORDERS_HTPP_PORT (did you mean ORDERS_HTTP_PORT?) is not a setting"),
        (["http_port"], "ORDERS_http_port (did you mean ORDERS_HTTP_PORT?) is not a setting"),
        (["KAFKA_"], "ORDERS_KAFKA_ "),
        ([""], "ORDERS_ is not a setting"),
        (
            ["KAFKA_SASL_PASSWRD"],
            "ORDERS_KAFKA_SASL_PASSWRD (did you mean ORDERS_KAFKA_SASL_PASSWORD?) is not a setting",
        ),
        (["KAFKA_PROPERTIES"], "ORDERS_KAFKA_PROPERTIES (did you mean"),
        (["KAFKA_LOGGER"], "ORDERS_KAFKA_LOGGER"),
        (["HTTP_PORT_FILE"], "ORDERS_HTTP_PORT_FILE (did you mean ORDERS_HTTP_PORT?) is not a setting"),
        (["HOMES"], "ORDERS_HOMES (did you mean ORDERS_HOME?) is not a setting"),
        (["QQQ", "BATCH_SIZE"], "ORDERS_BATCH_SIZE"),
        (["B\x1b[2JAD"], "ORDERS_B\\x1b[2JAD is not a setting"),
    ],
)
def test_unknown_variables_are_refused_with_the_nearest_name(names: list[str], said: str) -> None:
    with pytest.raises(UsageError) as error:
        load({f"ORDERS_{name}": SECRET for name in names})
    assert str(error.value).startswith(said)
    assert str(error.value).endswith(
        (" are not settings" if len(names) > 1 else " is not a setting") + "; `orders run --help` lists them"
    )
    assert SECRET not in str(error.value)


def test_several_unknown_variables_are_named_in_one_sentence() -> None:
    with pytest.raises(
        UsageError, match=r"^ORDERS_QQQ and ORDERS_ZZZ are not settings; `orders run --help` lists them$"
    ):
        load({"ORDERS_ZZZ": "1", "ORDERS_QQQ": "1"})


BYTES = st.binary(max_size=8).map(lambda raw: raw.replace(b"\0", b"").decode(errors="surrogateescape"))
VARIABLES = st.one_of(
    st.sampled_from([variable(name) for name in SIMPLE] + [property_variable(name) for name in givable()]),
    st.sampled_from(["ORDERS_POSTGRES_DSN_FILE", "ORDERS_KAFKA_SASL_PASSWORD_FILE", *SPECIAL]),
    st.text(st.characters(exclude_characters="=\0"), max_size=8).map("ORDERS_".__add__),
)


@given(st.dictionaries(VARIABLES, st.one_of(TEXTS, BYTES), max_size=4))
def test_any_variables_give_settings_or_one_sentence(variables: dict[str, str]) -> None:
    try:
        said = repr(load(variables))
    except UsageError as error:
        said = str(error)
    assert said.isprintable()


def test_variables_that_are_not_ours_are_none_of_our_business() -> None:
    assert load({"orders_http_port": "x", "ORDERSX": "x", "MY_ORDERS_HTTP_PORT": "x", "PATH": "x"}) == load({})


# ---- secrets ----


@pytest.mark.parametrize("content", [SECRET, f"{SECRET}\n", f"{SECRET}\r\n"])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("POSTGRES_DSN", "postgres_dsn"),
        ("POSTGRES_DSN_SERVE", "postgres_dsn_serve"),
        ("KAFKA_SASL_PASSWORD", "sasl.password"),
    ],
)
def test_a_secret_is_read_from_a_file_without_its_last_line_break(
    tmp_path: Path, name: str, read: str, content: str
) -> None:
    (tmp_path / "secret").write_bytes(content.encode())
    settings = load({f"ORDERS_{name}_FILE": str(tmp_path / "secret")})
    assert (asdict(settings) | settings.kafka_properties)[read] == SECRET


def test_a_secret_of_many_lines_keeps_all_but_the_last_line_break(tmp_path: Path) -> None:
    (tmp_path / "pem").write_text("a\nb\n\n")
    assert load({"ORDERS_KAFKA_SSL_KEY_PEM_FILE": str(tmp_path / "pem")}).kafka_properties == {"ssl.key.pem": "a\nb\n"}


def test_a_property_that_is_the_path_of_a_file_is_not_read() -> None:
    name = "sasl.oauthbearer.assertion.private.key.file"
    assert load({property_variable(name): "/key.pem"}).kafka_properties == {name: "/key.pem"}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "SECRET cannot be read (No such file or directory)"),
        (b"\xff", "SECRET cannot be read (it is not UTF-8 text)"),
        (b"", "SECRET is empty"),
        (b"\r\n", "SECRET is empty"),
    ],
)
def test_a_secret_that_cannot_be_read_is_named_by_its_path(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        load({"ORDERS_POSTGRES_DSN_FILE": str(path)})
    assert str(error.value) == f"ORDERS_POSTGRES_DSN_FILE: {why.replace('SECRET', str(path))}"


def test_a_secret_in_place_of_its_file_is_not_shown() -> None:
    for name, value in (("KAFKA_SASL_PASSWORD", SECRET), ("POSTGRES_DSN", f"postgresql://u:{SECRET}@db/orders")):
        with pytest.raises(UsageError) as error:
            load({f"ORDERS_{name}_FILE": value})
        said = f"ORDERS_{name}_FILE: the file that it names in {Path.cwd()} cannot be read (No such file or directory)"
        assert str(error.value) == said


def test_a_secret_given_twice_in_one_place_is_refused_and_in_two_places_follows_the_order(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("dbname=file")
    file = {"ORDERS_POSTGRES_DSN_FILE": str(tmp_path / "secret")}
    with pytest.raises(UsageError, match=r"^ORDERS_POSTGRES_DSN and ORDERS_POSTGRES_DSN_FILE give the same: leave one"):
        load(file | {"ORDERS_POSTGRES_DSN": DSN})
    assert load(file, {"postgres_dsn": "dbname=option"}).postgres_dsn == "dbname=option"
    (tmp_path / "orders.toml").write_text("postgres_dsn = 'dbname=toml'")
    assert load(file | {"ORDERS_HOME": str(tmp_path)}).postgres_dsn == "dbname=file"


def test_secrets_are_in_no_text_of_the_settings() -> None:
    secrets = {property_variable(name): SECRET for name in givable() if is_secret(name) and not known()[name].alias_of}
    simple = {variable(name): DSN for name in SECRETS}
    settings = load({**simple, "ORDERS_KAFKA_SASL_USERNAME": "us"} | secrets)
    for text in (repr(settings), str(settings), f"{[settings]}", repr(public(settings)), repr(explain(secrets))):
        assert SECRET not in text
    assert "host=db user=us" in repr(settings)
    assert "'sasl.username': 'us'" in repr(settings)


# ---- other processes ----


def test_what_may_be_written_down_has_no_secret_but_tells_that_there_is_one() -> None:
    settings = load({"ORDERS_POSTGRES_DSN": DSN, "ORDERS_KAFKA_SASL_PASSWORD": SECRET, "ORDERS_KAFKA_CLIENT_RACK": "a"})
    written = msgspec.json.decode(msgspec.json.encode(public(settings)))
    assert written["kafka_properties"] == {"client.rack": "a", "sasl.password": ""}
    assert written["postgres_dsn"] == "host=db user=us"
    again = load({}, {}, written)
    assert again.kafka_properties == {"client.rack": "a"}
    assert again.http_port == settings.http_port


def test_each_kind_of_process_knows_its_own_connection_string_alone() -> None:
    both = Settings(postgres_dsn="user=writes", postgres_dsn_serve="user=serves")
    assert (both.serving.postgres_dsn, both.writing.postgres_dsn) == ("user=serves", "user=writes")
    assert Settings(postgres_dsn="user=both").serving.postgres_dsn == "user=both"
    assert "writes" not in str(environment(both.serving))
    assert "serves" not in str(environment(both.writing))


def test_the_running_systems_role_of_serve_goes_with_its_own_database() -> None:
    running = {"postgres_dsn": "host=theirs", "postgres_dsn_serve": "host=theirs user=serves"}
    assert load({}, {}, running).postgres_dsn_serve == "host=theirs user=serves"
    assert load({"ORDERS_POSTGRES_DSN": "host=ours"}, {}, running).postgres_dsn_serve == ""
    assert load({"ORDERS_POSTGRES_DSN_SERVE": "user=ours"}, {}, running).serving.postgres_dsn == "user=ours"


SETTINGS = st.builds(
    Settings,
    http_host=TEXTS.filter(bool),
    http_port=st.integers(0, 65535),
    data_dir=st.sampled_from(["data", "/data", "../data"]),
    kafka_topic=TEXTS.filter(bool),
    kafka_properties=st.dictionaries(
        st.sampled_from([name for name in givable() if not is_path(name) and not known()[name].alias_of]),
        TEXTS.filter(bool),
        max_size=4,
    ),
    batch_age=st.floats(min_value=1e-3, max_value=86_400),
    default_view=st.sampled_from(["standard", "original"]),
    postgres_dsn=TEXTS,
)


@given(SETTINGS, st.sampled_from([None, "http_port = 1", "malformed"]))
def test_settings_reach_another_process_whatever_file_lies_where_it_runs(
    working_directory: Path, settings: Settings, file: str | None
) -> None:
    assert environment(settings)["ORDERS_DATA_DIR"] == str(settings.data)
    toml = working_directory / "orders.toml"
    try:
        if file:
            toml.write_text(file)
        again = load(environment(settings))
    finally:
        toml.unlink(missing_ok=True)
    assert again == msgspec.structs.replace(settings, data_dir=str(settings.data))


def test_relative_paths_reach_a_process_in_another_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load({"ORDERS_DATA_DIR": "data", "ORDERS_KAFKA_SSL_CA_LOCATION": "ca.pem"}, {"memory_path": "memory"})
    here = Path.cwd()
    monkeypatch.chdir(tmp_path)
    again = load(environment(settings))
    assert again == settings
    assert (again.data, again.memory_path) == (here / "data", str(here / "memory"))
    assert again.kafka_properties == {"ssl.ca.location": str(here / "ca.pem")}


def test_copies_of_dead_letters_do_not_go_to_the_topic_of_the_orders() -> None:
    with pytest.raises(UsageError, match=r"^ORDERS_DEAD_LETTERS_TOPIC must not be the topic of the orders$"):
        load({"ORDERS_DEAD_LETTERS_TOPIC": "orders"})
    with pytest.raises(UsageError, match=r"^--dead-letters-topic must not be"):
        load({"ORDERS_KAFKA_TOPIC": "mine"}, {"dead_letters_topic": "mine"})
    assert load({"ORDERS_DEAD_LETTERS_TOPIC": "dead"}).dead_letters_topic == "dead"


def test_another_process_inherits_none_of_our_variables(tmp_path: Path) -> None:
    # Else a secret's file would clash with the secret that was read from it.
    (tmp_path / "secret").write_text("dbname=x")
    given = {"ORDERS_POSTGRES_DSN_FILE": str(tmp_path / "secret"), "ORDERS_HOME": str(tmp_path), "PATH": "/bin"}
    settings = load(given)
    assert inherited(given) == {"PATH": "/bin"}
    assert load(inherited(given) | environment(settings)) == settings


# ---- orders config ----


def rows(*places: Any) -> dict[str, Effective]:
    return {row.name: row for row in explain(*places)}


def test_every_setting_is_explained_with_its_value_and_where_it_came_from(tmp_path: Path) -> None:
    (tmp_path / "orders.toml").write_text("http_workers = 3\n[kafka_properties]\nclient.rack = 'a'\n")
    (tmp_path / "secret").write_text(SECRET)
    variables = {
        "ORDERS_HOME": str(tmp_path),
        "ORDERS_BATCH_AGE": "2",
        "ORDERS_POSTGRES_DSN": DSN,
        "ORDERS_KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "secret"),
    }
    found = rows(variables, {"http_port": "9000"}, {"kafka_topic": "theirs"})
    toml, file = str(tmp_path / "orders.toml"), "ORDERS_KAFKA_SASL_PASSWORD_FILE"
    password, rack = 'kafka_properties."sasl.password"', 'kafka_properties."client.rack"'
    assert list(found) == [*SIMPLE, rack, password]
    for name, value, origin, secret in (
        ("http_port", 9000, "--http-port", False),
        ("batch_age", 2.0, "ORDERS_BATCH_AGE", False),
        ("http_workers", 3, toml, False),
        ("kafka_topic", "theirs", "the running system", False),
        ("kafka_group", "orders", "default", False),
        ("data_dir", str(tmp_path / ".orders"), "default", False),
        ("postgres_dsn", "host=db user=us", "ORDERS_POSTGRES_DSN", True),
        (rack, "a", toml, False),
        (password, "(hidden)", file, True),
    ):
        assert (found[name].value, found[name].origin, found[name].secret) == (value, origin, secret)
    assert found[password].variable == "ORDERS_KAFKA_SASL_PASSWORD"
    assert found["http_port"].variable == "ORDERS_HTTP_PORT"
