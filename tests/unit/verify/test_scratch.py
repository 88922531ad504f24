"""The scratch file: what was put comes back in order, it leaves nothing behind, and a lack of room is one sentence."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.errors import StartError
from orders.verify import scratch as module
from orders.verify.scratch import scratch

KEYS = st.binary(min_size=1, max_size=3)


@given(st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=5)), max_size=30), st.integers(1, 5))
def test_a_tree_is_a_sorted_dictionary_however_often_it_is_saved(
    changes: list[tuple[bytes, bytes | None]], at_once: int
) -> None:
    """None: the entry is taken away."""
    expected = dict[bytes, bytes]()
    with pytest.MonkeyPatch.context() as patched, scratch() as made:
        patched.setattr(module, "SAVED_AT_ONCE", at_once)
        tree, other = made.tree("rows"), made.tree("dead_letters")
        for key, value in changes:
            if value is None:
                assert tree.pop(key) == expected.pop(key, None)
            else:
                tree.put(key, value)
                expected[key] = value
            assert tree.get(key) == expected.get(key)
        assert (list(tree), list(other)) == (sorted(expected.items()), [])


def test_the_file_is_gone_while_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch() as made:
        made.tree("rows").put(b"a", b"1")
        assert list(tmp_path.iterdir()) == []
        assert list(made.tree("rows")) == [(b"a", b"1")]


def test_without_a_directory_it_says_what_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(StartError, match=r"no directory for temporary files .* TMPDIR"), scratch():
        pass


def test_without_room_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: module.shutil._ntuple_diskusage(0, 0, 0))  # type: ignore[attr-defined] # its own
    with pytest.raises(StartError, match=r"no room .* TMPDIR"):
        fill(100_000)


def fill(entries: int) -> None:
    with scratch() as made:
        for number in range(entries):
            made.tree("rows").put(b"%d" % number, b"x" * 50)
