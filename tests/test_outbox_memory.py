"""Memory that runs out while the outbox writes."""

from __future__ import annotations

import faulthandler
import json
import os
import traceback
from pathlib import Path

import pytest
from samples import sighting

from edge.outbox import Depth, Outbox

FOR_A_WHILE = 40
"""So many allocations in a row: what is done about the first one fails too."""


def in_a_process(work) -> int:
    """Do something in a process of its own; give how it ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        faulthandler.disable()
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def append_without_memory(path: Path, progress: Path, count: int) -> None:
    """Append while some allocations fail, another one first each time, until none does any more."""
    import _testcapi

    with Outbox(path) as box:
        seq, failed = box.append(sighting()), True
        while failed:
            at = len(progress.read_bytes())
            with progress.open("ab") as file:
                file.write(b".")
            messages = [sighting(), sighting()]
            _testcapi.set_nomemory(at, at + count)
            try:
                box.append_many(messages)
                failed = False
            except MemoryError:
                failed = True
            finally:
                _testcapi.remove_mem_hooks()
            if failed:
                messages.append(sighting())  # what came meanwhile is written with them
                assert box.append_many(messages) == [seq + 1, seq + 2, seq + 3], at
            rows, expected = box.page(), list(range(seq, seq + len(messages) + 1))
            assert [json.loads(row.payload)["seq"] for row in rows] == expected, at
            assert box.depth().waiting == len(rows)
            seq = expected[-1]
            assert box.delete(row.row for row in rows[:-1]) == len(messages)
        assert box.appended >= seq - expected[0]
        box.delete([rows[-1].row])
        assert box.depth() == Depth(0, 0)


@pytest.mark.parametrize("count", [1, FOR_A_WHILE])
def test_memory_that_runs_out_in_an_append_loses_and_doubles_nothing(tmp_path, count, capfd):
    """At each of Python's allocations in turn: tried again, all is there once, under its number.

    Where a library crashes instead, that is the end of a process, and of nothing on disk.
    """
    pytest.importorskip("_testcapi")
    path, progress = tmp_path / "outbox.db", tmp_path / "progress"
    progress.touch()
    while status := in_a_process(lambda: append_without_memory(path, progress, count)):
        assert status < 0, capfd.readouterr().err
        path.with_name("outbox.db").unlink()
    assert len(progress.read_bytes()) > 50
