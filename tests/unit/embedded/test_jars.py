"""Kafka's jars: the pinned list, and what happens to jars that are missing or not the ones that were pinned."""

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.embedded import Silent
from orders.embedded.jars import Jar, local_repository, parse, pinned, provide
from orders.errors import StartError

CONTENT = {name: f"the bytes of {name}".encode() * 50 for name in ("alpha", "beta", "gamma")}
WORD = st.text("abcxyz0189._-", min_size=1, max_size=12)


def jar(name: str) -> Jar:
    return Jar("org.example", name, "1.0", "", hashlib.sha256(CONTENT[name]).hexdigest(), len(CONTENT[name]))


JARS = [jar(name) for name in CONTENT]


class Maven:
    """A repository that gives `wrong` bytes of a jar so many times, before it gives the right ones."""

    def __init__(self, **wrong: int) -> None:
        self.wrong = Counter(wrong)
        self.asked: Counter[str] = Counter()

    def fetch(self, wanted: Jar, folder: Path, advance: Callable[[int], None]) -> None:
        self.asked[wanted.artifact] += 1
        bad = self.asked[wanted.artifact] <= self.wrong[wanted.artifact]
        content = CONTENT[wanted.artifact][::-1] if bad else CONTENT[wanted.artifact]
        (folder / wanted.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / wanted.path).write_bytes(content)
        advance(len(content))


class Bar(Silent):
    """Counts what is shown."""

    def __init__(self) -> None:
        self.count = 0
        self.told: list[str] = []

    def step(self, text: str) -> None:
        assert self.count == 0
        self.told.append(text)

    def advance(self, count: int) -> None:
        self.count += count


def test_the_pinned_list_holds_one_of_each_and_leads_from_slf4j_to_log4j() -> None:
    names = [each.artifact for each in pinned()]
    assert len(names) == len(set(names)) > 40
    assert {"kafka_2.13", "kafka-clients", "log4j-slf4j-impl", "log4j-core"} <= set(names)
    assert all(len(each.sha256) == 64 and each.size > 0 for each in pinned())


@given(st.lists(st.builds(Jar, WORD, WORD, WORD, WORD | st.just(""), WORD, st.integers(1)), max_size=5))
def test_the_list_is_read_as_it_was_written(jars: list[Jar]) -> None:
    lines = [
        ":".join(filter(None, [j.group, j.artifact, j.version, j.classifier])) + f" {j.sha256} {j.size}" for j in jars
    ]
    assert parse("\n".join(["# a remark", "", *lines, ""])) == jars


def test_a_jar_lies_where_maven_puts_it() -> None:
    assert Jar("org.a.b", "c", "1", "", "", 0).path == Path("org/a/b/c/1/c-1.jar")
    assert Jar("org.a.b", "c", "1", "linux", "", 0).path == Path("org/a/b/c/1/c-1-linux.jar")


def test_what_is_missing_is_fetched_once_and_its_size_told_before(tmp_path: Path) -> None:
    maven, bar = Maven(), Bar()
    for _ in range(2):
        paths = provide(JARS, tmp_path, bar, lambda: maven.fetch)
        assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert maven.asked == dict.fromkeys(CONTENT, 1)
    assert bar.count == sum(each.size for each in JARS)
    assert bar.told == [f"fetching 3 of Kafka's jars once, 0 MB, into {tmp_path}"]


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[::-1], lambda _: b""])
def test_a_damaged_jar_is_replaced_and_the_others_are_kept(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    maven = Maven()
    paths = provide(JARS, tmp_path, Silent(), lambda: maven.fetch)
    paths[1].write_bytes(damage(CONTENT["beta"]))
    provide(JARS, tmp_path, Silent(), lambda: maven.fetch)
    assert paths[1].read_bytes() == CONTENT["beta"]
    assert maven.asked == {"alpha": 1, "beta": 2, "gamma": 1}


def test_a_wrong_download_is_tried_once_more(tmp_path: Path) -> None:
    paths = provide(JARS, tmp_path, Silent(), lambda: Maven(beta=1).fetch)
    assert paths[1].read_bytes() == CONTENT["beta"]


def test_a_download_that_stays_wrong_is_refused_in_a_sentence_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"beta-1\.0\.jar is not the one that was pinned"):
        provide(JARS, tmp_path, Silent(), lambda: Maven(beta=9).fetch)
    assert not (tmp_path / JARS[1].path).exists()
    assert not list(tmp_path.glob(".orders-*"))


def test_a_fetch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def unreachable(_jar: Jar, _folder: Path, _advance: Callable[[int], None]) -> None:
        raise StartError("there is no network")

    with pytest.raises(StartError, match="there is no network"):
        provide(JARS, tmp_path, Silent(), lambda: unreachable)
    assert list(tmp_path.rglob("*")) == []


def test_a_place_that_cannot_hold_jars_is_one_sentence_that_names_m2_repo(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        StartError, match=rf"\(Not a directory: {tmp_path}/file.*\): name another directory in M2_REPO$"
    ):
        provide(JARS, tmp_path / "file" / "repository", Silent(), lambda: Maven().fetch)


def test_the_jars_lie_in_mavens_local_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The user's own, so that clones, tests and CI share them.
    monkeypatch.delenv("M2_REPO", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_repository() == tmp_path / ".m2" / "repository"
    monkeypatch.setenv("M2_REPO", "/elsewhere")
    assert local_repository() == Path("/elsewhere")


def test_a_user_without_a_home_is_reported_to_name_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("M2_REPO", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(StartError, match="name a directory in M2_REPO"):
        local_repository()


def test_a_start_that_is_interrupted_leaves_no_half_jar(tmp_path: Path) -> None:
    class Interrupted(Silent):
        def advance(self, count: int) -> None:
            raise KeyboardInterrupt(count)

    with pytest.raises(KeyboardInterrupt):
        provide(JARS, tmp_path, Interrupted(), lambda: Maven().fetch)
    assert not list(tmp_path.rglob("*.jar"))
