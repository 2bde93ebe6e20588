"""The end of the write-ahead log after a power cut: what SQLite takes of it is what counts."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

from samples import sighting

from edge.outbox.outbox import Outbox
from edge.outbox.rows import Row
from edge.outbox.sql import PAGE_BYTES
from edge.outbox.sqlite_wal import damage

BLOCK = 4096


def cut(live: Path, path: Path) -> bytearray:
    """Copy a database in use as a power cut leaves it; give its log."""
    path.parent.mkdir(exist_ok=True)
    for suffix in ("", ".seq"):
        shutil.copy(f"{live}{suffix}", f"{path}{suffix}")
    Path(f"{path}-shm").unlink(missing_ok=True)
    log = bytearray(Path(f"{live}-wal").read_bytes())
    Path(f"{path}-wal").write_bytes(log)
    return log


def seqs(rows: list[Row]) -> list[int]:
    """The numbers of sightings."""
    return [json.loads(row.payload)["seq"] for row in rows]


def changed(before: bytes | bytearray, after: bytes | bytearray) -> range:
    """The blocks in which two states of a log differ, from the first to the last."""
    size = max(len(before), len(after))
    before, after = before.ljust(size, b"\0"), after.ljust(size, b"\0")
    differ = [at for at in range(0, size, BLOCK) if before[at:][:BLOCK] != after[at:][:BLOCK]]
    return range(differ[0], differ[-1] + BLOCK, BLOCK)


def test_a_block_that_was_not_synced_costs_nothing(tmp_path):
    """Deletions are not synced: any block of theirs may be missing while later ones are there.

    Every sighting that waited is there, under its number, and no database is set aside.
    """
    live = tmp_path / "live" / "o.db"
    with Outbox(live, delete_seconds=0) as outbox:
        for _ in range(20):
            outbox.append_many([sighting() for _ in range(3)])
        synced = Path(f"{live}-wal").read_bytes()
        rows = outbox.page(0, 1000)
        for first in range(0, 30, 5):
            outbox.delete(row.row for row in rows[first : first + 5])
        waiting = outbox.page(0, 1000)
        place = tmp_path / "cut"
        for at in changed(synced, cut(live, place / "o.db")):
            shutil.rmtree(place)
            log = cut(live, place / "o.db")
            log[at : at + BLOCK] = synced[at : at + BLOCK].ljust(BLOCK, b"\0")
            Path(f"{place / 'o.db'}-wal").write_bytes(log)
            with Outbox(place / "o.db") as after:
                there = after.page(0, 1000)
                assert [row for row in there if row.row >= waiting[0].row] == waiting
                assert seqs(there) == sorted(set(seqs(there)))
                assert after.append(sighting()) > 60
            assert not [one for one in place.iterdir() if "damaged" in one.name]


def test_messages_behind_a_spoilt_page_of_the_log_are_added(tmp_path):
    """SQLite ends there; what was committed behind it comes out too, in order, and no number
    that is there is given out again."""
    live, path = tmp_path / "live" / "o.db", tmp_path / "cut" / "o.db"
    with Outbox(live) as outbox:
        for _ in range(20):
            outbox.append_many([sighting() for _ in range(10)])
        before = outbox.page(0, 1000)
        log = cut(live, path)
    log[32 + 30 * (24 + PAGE_BYTES) + 500] ^= 1
    Path(f"{path}-wal").write_bytes(log)
    shutil.copytree(path.parent, tmp_path / "plain")
    with sqlite3.connect(tmp_path / "plain" / "o.db") as db:
        (sqlites,) = db.execute("SELECT count(*) FROM message").fetchone()
    db.close()
    assert damage(path)
    with Outbox(path) as outbox:
        after = outbox.page(0, 1000)
        assert sqlites < len(after) - 50
        assert len(after) >= len(before) - 6
        assert after == [row for row in before if row in after]
        assert outbox.salvaged == len(after) - sqlites
        assert outbox.append(sighting()) > 200
