"""Appends to an outbox while some allocations fail, another one first each time, until none does.

Run as a program of its own, never by pytest: where a library crashes for want of memory, it ends.
``python memoryless_append.py FILE PROGRESS COUNT`` goes on where PROGRESS says another one ended.
"""

from __future__ import annotations

import _testcapi
import json
import sys
from pathlib import Path

from samples import sighting

from edge.outbox.outbox import Depth, Outbox


def append(path: Path, progress: Path, count: int) -> None:
    """Let `count` allocations fail in each append; what failed is tried again."""
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
            assert box.depth().waiting == len(rows), at
            seq = expected[-1]
            assert box.delete(row.row for row in rows[:-1]) == len(messages), at
        box.delete([rows[-1].row])
        assert box.depth() == Depth(0, 0)


if __name__ == "__main__":
    append(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
