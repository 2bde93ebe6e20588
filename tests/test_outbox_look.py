"""Looks into an outbox that a device has to itself."""

import contextlib
import shutil
import struct
from pathlib import Path

import pytest
from samples import sighting

from edge.outbox import Outbox
from edge.outbox_look import waiting
from edge.outbox_schema import PAGE_BYTES
from edge.sqlite_pages import Pages, table
from edge.state_lock import StateLock

FRAME = 24 + PAGE_BYTES


@pytest.fixture
def held(tmp_path):
    """A folder that a device holds."""
    with StateLock() as lock:
        lock.hold([tmp_path])
        yield tmp_path


def test_an_open_outbox_is_two_files_and_the_log_says_where_pages_are(held):
    """A third one would be written time and again."""
    with Outbox(held / "o.db") as outbox:
        outbox.append_many([sighting() for _ in range(3)])
        assert {one.name for one in held.glob("o.db*")} == {
            "o.db",
            "o.db-wal",
            "o.db.seq",
            "o.db.room",
        }


def test_a_look_beside_a_device_counts_what_waits(held):
    """Whether it stands in the file or in the log, and how ever deep the tree is."""
    path = held / "o.db"
    assert waiting(path) == 0
    with Outbox(path, delete_seconds=0) as outbox:
        assert waiting(path) == 0
        for _ in range(40):
            outbox.append_many([sighting() for _ in range(60)])
            assert waiting(path) == outbox.depth().waiting
        while rows := outbox.page(limit=700):
            outbox.delete([row.row for row in rows])
            assert waiting(path) == outbox.depth().waiting
        assert waiting(path) == 0


def test_what_is_not_whole_at_the_end_of_the_log_does_not_count(held):
    """A commit whose page is still being written, or which a cut of the power left so."""
    path, cut = held / "o.db", held / "cut.db"
    with Outbox(path) as outbox:
        for _ in range(5):
            outbox.append(sighting())
        shutil.copy(path, cut)
        log = Path(f"{path}-wal").read_bytes()
    salts = log[16:24]
    ends = [at for at in range(32, len(log) - FRAME, FRAME) if log[at + 8 : at + 16] == salts]
    torn = struct.pack(">II", 2, 3) + salts + bytes(8)
    at = ends[-1] + FRAME
    Path(f"{cut}-wal").write_bytes(log[:at] + torn + log[at + len(torn) :])
    assert waiting(cut) == 5


def test_a_table_is_read_by_its_tree_from_a_row_on(tmp_path):
    """In order, each row once; a tree that is none is told."""
    path = tmp_path / "o.db"
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(300)])
    with contextlib.closing(Pages(path)) as pages:
        roots = {record[1]: record[3] for _, record in table(pages, 1)}
        assert [row for row, _ in table(pages, roots["message"])] == list(range(1, 301))
        assert [row for row, _ in table(pages, roots["message"], 297)] == [297, 298, 299, 300]
        with pytest.raises(ValueError, match="none of a table"):
            list(table(pages, roots["lesser"]))
