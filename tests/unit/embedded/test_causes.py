"""What a service died of, told by its last words: lines that PostgreSQL, Java and Kafka really wrote."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.embedded.causes import KILLED, LONGEST, cause

DIRECTORY = Path("/data/kafka")
INITDB = """\
2026-11-24 11:02:31.268 UTC [15801] FATAL:  could not write lock file "postmaster.pid": No space left on device
child process exited with exit code 1
initdb: removing contents of data directory "/data/postgres/data.new"
"""
SHARED = """\
FATAL:  could not resize shared memory segment "/PostgreSQL.632711256" to 11176 bytes: No space left on device
"""
HEAP = """\
Error occurred during initialization of VM
Could not reserve enough space for 393216KB object heap
"""
CLASSES = """\
Error occurred during initialization of VM
Could not allocate compressed class space: 1073741824 bytes
"""
NATIVE = """\
# There is insufficient memory for the Java Runtime Environment to continue.
# Native memory allocation (mmap) failed to map 12288 bytes. Error detail: committing reserved memory.
"""
THREADS = "java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory or process limits reached"
FILES = "Caused by: java.io.FileNotFoundException: /data/quorum-state.tmp (Too many open files)"
FEW_FILES = "FATAL:  insufficient file descriptors available to start server process"
MAPPED = "FATAL:  could not map anonymous shared memory: Cannot allocate memory"
NAMELESS = "initdb: error: could not look up effective user ID 54321: user does not exist"
KAFKA = """\
2026-11-24T11:03:11,123 ERROR KafkaServer: Exiting Kafka due to fatal exception
java.lang.IllegalArgumentException: No enum constant of that name
        at java.base/java.lang.Enum.valueOf(Enum.java:292)
"""


@pytest.mark.parametrize(
    ("log", "words", "advice"),
    [
        (INITDB, 'FATAL:  could not write lock file "postmaster.pid"', "make room on the disk of /data/kafka, or"),
        (SHARED, "FATAL:  could not resize shared memory", "(/dev/shm) is full"),
        (HEAP, "Could not reserve enough space", "there is too little memory"),
        (CLASSES, "Could not allocate compressed class space", "there is too little memory"),
        (NATIVE, "# There is insufficient memory", "there is too little memory"),
        (MAPPED, "FATAL:  could not map anonymous shared memory", "there is too little memory"),
        (THREADS, "java.lang.OutOfMemoryError: unable to", "`ulimit -u`"),
        (FILES, "Caused by: java.io.FileNotFoundException", "`ulimit -n`"),
        (FEW_FILES, "FATAL:  insufficient file descriptors", "`ulimit -n`"),
        (NAMELESS, "initdb: error: could not look up", "/etc/passwd"),
        (
            KAFKA,
            "ERROR KafkaServer: Exiting Kafka due to fatal exception / java.lang.Illegal",
            "see the logs in /data/kafka",
        ),
        ("one\ntwo\n", "two", "see the logs in"),
        ("", "it says nothing", "see the logs in"),
    ],
)
def test_the_words_that_tell_most_and_what_helps(log: str, words: str, advice: str) -> None:
    found = cause(log.splitlines(), DIRECTORY)
    assert found.words.startswith(words)
    assert advice in found.advice


def test_a_service_that_was_killed_lacked_memory() -> None:
    found = cause(["all is well"], DIRECTORY, KILLED)
    assert found.words == "it was killed, as the kernel does when memory runs out"
    assert "too little memory" in found.advice


def test_on_a_full_disk_logs_are_empty_and_the_disk_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    assert cause([], tmp_path).advice.startswith(f"make room on the disk of {tmp_path}, or choose")


@given(st.lists(st.text(max_size=2 * LONGEST)), st.none() | st.integers(-64, 255))
def test_whatever_a_log_holds_comes_out_as_one_short_line(lines: list[str], status: int | None) -> None:
    found = cause([line for text in lines for line in text.splitlines()], DIRECTORY, status)
    assert found.words
    assert len(found.words) <= LONGEST
    assert len(f"{found.words}{found.advice}".splitlines()) == 1
