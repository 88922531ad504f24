"""Room for a running system: refused with figures where there is too little, and memory where there is enough."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from orders.errors import StartError
from orders.system import capacity, machine
from orders.system.capacity import memory_directory, remove_abandoned, require_disk, require_files, require_memory

MB = 2**20


@pytest.fixture
def ram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /dev/shm."""
    ram = tmp_path / "ram"
    ram.mkdir()
    monkeypatch.setattr(machine, "SHM", ram)
    return ram


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    return data


def free(monkeypatch: pytest.MonkeyPatch, **megabytes: int) -> None:
    """What is free, by the name of the directory."""
    monkeypatch.setattr(capacity, "free_bytes", lambda path: megabytes[path.name] * MB)


def test_a_disk_that_is_nearly_full_is_refused_with_figures(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, data=300)
    require_disk(data)
    free(monkeypatch, data=299)
    with pytest.raises(
        StartError, match=rf"the disk of {data} has 299 MB free, .* 300 MB: make room there, or .* --data-dir"
    ):
        require_disk(data)


def test_too_little_memory_is_refused_with_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "available_memory", lambda: 450 * MB)
    require_memory()
    monkeypatch.setattr(capacity, "available_memory", lambda: 449 * MB)
    with pytest.raises(StartError, match=r"has 449 MB of memory available, .* take 450 MB: .* ORDERS_POSTGRES_DSN"):
        require_memory()


@pytest.mark.parametrize(
    ("soft", "hard", "set_to"), [(100, 4096, 512), (100, -1, 512), (512, 512, None), (-1, -1, None)]
)
def test_the_limit_of_open_files_is_raised_where_it_may_be(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, set_to: int | None
) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: seen.append(limits))
    require_files()
    assert seen == ([] if set_to is None else [(set_to, hard)])


def test_a_limit_of_open_files_that_cannot_be_raised_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (40, 40))
    with pytest.raises(StartError, match=r"^40 files may be open .* need 512: raise the limit \(`ulimit -n`\)$"):
        require_files()


def test_memory_lies_in_ram_where_there_is_room(ram: Path, data: Path) -> None:
    with memory_directory(data, 1) as (path, remark):
        assert (path.parent, remark) == (ram, "")
        assert path.stat().st_mode & 0o777 == 0o700
    assert [*ram.iterdir(), *data.iterdir()] == []


@pytest.mark.parametrize(
    ("in_ram", "memory", "why"), [(99, 1000, "ram has 99 MB free"), (100, 49, "49 MB of RAM are free")]
)
@pytest.mark.usefixtures("ram")
def test_memory_lies_with_the_data_where_ram_has_too_little_and_that_is_said(
    data: Path, monkeypatch: pytest.MonkeyPatch, in_ram: int, memory: int, why: str
) -> None:
    free(monkeypatch, ram=in_ram, data=100)
    monkeypatch.setattr(capacity, "available_memory", lambda: memory * MB)
    with memory_directory(data, 50 * MB) as (path, remark):
        assert path.parent == data
        assert remark.startswith(" (on disk: it may grow to 100 MB, and ")
        assert remark.endswith(f"{why})")
        (path / "memory").touch()
    assert list(data.iterdir()) == []


def test_memory_lies_with_the_data_where_there_is_no_shm(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "SHM", tmp_path / "missing")
    with memory_directory(data, 1) as (path, remark):
        assert path.parent == data
        assert "missing or closed to us" in remark


@pytest.mark.usefixtures("ram")
def test_memory_that_finds_room_nowhere_is_refused_with_figures(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, ram=1, data=99)
    with (
        pytest.raises(StartError, match=r"100 MB \(.*ram has 1 MB free, .*data has 99 MB free\): .* --memory-bytes$"),
        memory_directory(data, 50 * MB),
    ):
        pytest.fail("made")


def test_an_abandoned_memory_is_removed_and_a_held_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SHM", tmp_path / "missing")
    code = f"import os; from orders.system.capacity import *; held_directory(Path({str(tmp_path)!r})); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    (abandoned,) = tmp_path.iterdir()
    with memory_directory(tmp_path, 1) as (held, _):
        assert not abandoned.exists()
        remove_abandoned(tmp_path)
        assert held.exists()
