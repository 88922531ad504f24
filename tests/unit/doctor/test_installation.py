"""What is installed against what was locked."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.doctor import installation
from orders.doctor.installation import extra, packages, pins, python
from orders.embedded import jars
from orders.embedded.jars import Jar

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True)
VERSIONS = st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}", fullmatch=True)


@given(st.dictionaries(NAMES, st.tuples(VERSIONS, st.booleans())))
def test_pins_are_read_as_they_were_written(wanted: dict[str, tuple[str, bool]]) -> None:
    marker = " ; sys_platform == 'win32'"
    lines = [f"{n}=={v}{marker if m else ''} \\\n    --hash=sha256:00 \\\n" for n, (v, m) in wanted.items()]
    assert pins("# a remark\n" + "".join(lines)) == wanted


def test_the_lock_file_of_this_tree_is_found_and_read() -> None:
    assert pins(installation.LOCK.read_text("utf-8"))["click"][1] is False


def test_packages_that_differ_are_named_and_those_of_another_machine_are_not_missed(tmp_path: Path) -> None:
    lock = tmp_path / "run.txt"
    lock.write_text("click==0.1 \\\nno-such-package==1.0 \\\nneither-this==2.0 ; sys_platform == 'win32' \\\n")
    found = packages(lock)
    assert found.state == "warning"
    assert "click is " in found.found
    assert "locked is 0.1, no-such-package 1.0 is missing" in found.found
    assert "neither-this" not in found.found


def test_without_a_lock_file_packages_are_not_compared(tmp_path: Path) -> None:
    assert packages(tmp_path / "missing").state == "skipped"


@pytest.mark.parametrize(("version", "state"), [((3, 11), "ok"), ((3, 14), "ok"), ((3, 15), "warning")])
def test_a_python_that_nobody_tried_is_a_warning(version: tuple[int, int], state: str) -> None:
    assert python(version).state == state


def test_a_missing_package_matters_only_where_its_service_is_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "find_spec", lambda name: None if name == "jgo" else object())
    assert extra(postgres=True, kafka=False).state == "ok"
    assert extra(postgres=False, kafka=False).state == "skipped"
    missing = extra(postgres=True, kafka=True)
    assert (missing.state, missing.found) == ("failed", "jgo missing, of which an embedded service is made")


def test_a_jar_of_other_bytes_is_a_warning_with_what_will_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jar = Jar("org.example", "thing", "1.0", "", "0" * 64, 3_000_000)
    (tmp_path / jar.path).parent.mkdir(parents=True)
    (tmp_path / jar.path).write_bytes(b"other")
    monkeypatch.setattr(jars, "pinned", lambda: [jar])
    monkeypatch.setattr(jars, "local_repository", lambda: tmp_path)
    found = installation.kafka_jars()
    assert (found.state, found.advice) == ("warning", "`orders run` fetches them once, 3 MB: have a network then")
    monkeypatch.setattr(installation, "free_bytes", lambda _: 0)
    assert installation.kafka_jars().state == "failed"


def test_a_java_that_does_not_run_fails_with_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "java"
    broken.write_text("#!/bin/sh\necho no libjvm.so >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(installation, "java_program", lambda: broken)
    assert (installation.java().state, installation.java().found) == ("failed", "Java fails: no libjvm.so")
    broken.unlink()
    assert installation.java().state == "failed"
