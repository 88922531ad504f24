"""Ports that are remembered, on real sockets."""

import socket
from pathlib import Path

import pytest

from orders.embedded.ports import LOOPBACK, free, is_free, is_open, remembered


def test_free_ports_are_the_same_at_the_next_start(tmp_path: Path) -> None:
    first = remembered(tmp_path / "ports", 3)
    assert len(set(first)) == 3
    assert remembered(tmp_path / "ports", 3) == first


def test_a_port_that_somebody_took_is_chosen_again_and_remembered(tmp_path: Path) -> None:
    (port,) = remembered(tmp_path / "ports", 1)
    with socket.create_server((LOOPBACK, port)):
        assert is_open(port)
        assert not is_free(port)
        (other,) = remembered(tmp_path / "ports", 1)
    assert other != port
    assert remembered(tmp_path / "ports", 1) == [other]


@pytest.mark.parametrize("text", ["", "x", "1 2 3", "70000", "-1", "\x00"])
def test_a_file_that_makes_no_sense_is_written_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "ports").write_text(text)
    (port,) = remembered(tmp_path / "ports", 1)
    assert (tmp_path / "ports").read_text() == f"{port}\n"


def test_a_port_that_was_in_use_a_moment_ago_is_free() -> None:
    """Connections that were closed on our side linger there, and would keep a careless server away."""
    (port,) = free(1)
    with socket.create_server((LOOPBACK, port)) as server:
        client = socket.create_connection((LOOPBACK, port))
        accepted, _ = server.accept()
        accepted.close()
        client.close()
    assert is_free(port)
