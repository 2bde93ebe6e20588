"""Reads an outbox on a disk that fails to read for a while (bad_reads.c); a program of its own."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from samples import sighting

from edge.errors import OutboxError
from edge.outbox.outbox import Outbox

COUNT = 3000
"""So many that SQLite holds but some in memory."""


def main(path: Path, when: str) -> None:
    """Let the disk fail at a start, or while the outbox is open; it works again after a second."""
    bad = Path(os.environ["BAD_READS"])
    with Outbox(path) as box:
        box.append_many([sighting() for _ in range(COUNT)])
    opened = None if when == "start" else Outbox(path)
    bad.touch()
    threading.Timer(1.0, bad.unlink).start()
    box = opened or Outbox(path)
    for _ in range(2):
        try:
            found = box.page(limit=COUNT + 1)
            break
        except OutboxError as error:
            sys.stdout.write(f"{type(error).__name__}\n")
    assert len(found) == COUNT, len(found)
    assert box.depth().waiting == COUNT
    assert box.append(sighting()) == COUNT + 1
    box.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
