"""Processes of the bench: their lines become events, their failure is told, they end when they are to."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from bench.children import Child, Events, awaited, is_action, until
from orders.errors import StartError
from support.processes import is_gone

SAY = "from bench.children import rest, say; import sys, time; "


def child(folder: Path, code: str, events: Events, name: str = "it") -> Child:
    return Child(name, folder, [sys.executable, "-c", SAY + code], events)


def test_lines_of_json_become_events_and_others_do_not(tmp_path: Path) -> None:
    events = Events()
    with child(tmp_path, "print('hello'); say('first'); say('second', value=3); rest()", events) as it:
        event = awaited(events, is_action("second"), 20)
    assert (event.child, event.said["value"]) == (it, 3)
    assert "hello" in it.last_words


def test_a_process_that_fails_is_reported_with_its_last_words(tmp_path: Path) -> None:
    events = Events()
    code = "sys.exit('the disk is on fire')"
    with child(tmp_path, code, events), pytest.raises(StartError, match=r"^it ended: the disk is on fire$"):
        awaited(events, is_action("never"), 20)


def test_a_process_that_ends_well_is_no_failure(tmp_path: Path) -> None:
    events = Events()
    with child(tmp_path, "say('last')", events) as it:
        awaited(events, is_action("last"), 20)
        until(lambda: is_gone(it.pid), events)
    assert events.empty()


def test_what_does_not_come_in_time_is_reported(tmp_path: Path) -> None:
    events = Events()
    with child(tmp_path, "rest()", events):
        with pytest.raises(StartError, match="within 0 s"):
            awaited(events, is_action("never"), 0.05)
        with pytest.raises(StartError, match="within 0 s"):
            until(lambda: False, events, 0.05)


def test_a_process_is_ended_with_all_that_descends_from_it(tmp_path: Path) -> None:
    events = Events()
    with child(tmp_path, "say('up'); rest()", events) as it:
        awaited(events, is_action("up"), 20)
        tree = [psutil.Process(it.pid), *psutil.Process(it.pid).children(recursive=True)]
        began = time.monotonic()
    assert len(tree) == 2
    assert not any(process.is_running() for process in tree)
    assert time.monotonic() - began < 5
    assert list(tmp_path.iterdir()) == []
