"""Looks into an outbox that a device has to itself."""

import contextlib
import shutil
import sqlite3
import struct
import time
from pathlib import Path

import pytest
from first_outbox import first_outbox
from samples import sighting

from edge.errors import OutboxDamagedError, OutboxError
from edge.outbox import inspection as outbox_look
from edge.outbox.inspection import waiting
from edge.outbox.outbox import Outbox
from edge.outbox.sql import PAGE_BYTES
from edge.outbox.sqlite_pages import Pages, table
from edge.system.state_lock import StateLock

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


@pytest.fixture(params=["held", "left"])
def folder(request, tmp_path):
    """A folder that a device holds, and one that none does."""
    if request.param == "left":
        yield tmp_path
        return
    with StateLock() as lock:
        lock.hold([tmp_path])
        yield tmp_path


@contextlib.contextmanager
def changed(path: Path):
    """Change an outbox that was closed, and bring all into its file."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        yield db


def test_what_waits_is_counted_in_a_file_without_a_log(folder):
    """As its totals say, and what was appended since; nothing appears beside it."""
    path = folder / "a room?#1%.db"
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(5)])
    with changed(path) as db:
        db.execute("UPDATE total SET waiting = 4, next_row = 4")
    before = set(folder.iterdir())
    assert waiting(path) == 4 + 2
    assert set(folder.iterdir()) == before


def test_an_outbox_that_is_being_made_holds_nothing(folder):
    """No byte of it, no table, no totals."""
    path = folder / "o.db"
    path.touch()
    assert waiting(path) == 0
    with changed(path) as db:
        db.execute("CREATE TABLE other (x)")
    assert waiting(path) == 0


def test_a_file_of_the_first_version_is_counted(folder):
    """It has its count, and no row from which to count on."""
    path = folder / "o.db"
    with first_outbox(path, [sighting() for _ in range(9)], delivered=2):
        pass
    assert waiting(path) == 7


def test_an_outbox_without_totals_holds_nothing_that_could_be_told(tmp_path):
    """Its device will say so."""
    path = tmp_path / "o.db"
    with Outbox(path):
        pass
    with changed(path) as db:
        db.execute("DELETE FROM total")
    assert waiting(path) == 0


def test_damage_is_told_and_nothing_is_counted(tmp_path, monkeypatch):
    """Beside a device that may be writing, it is looked again fifty times before."""
    path, waited = tmp_path / "o.db", list[float]()
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(50)])
    data = bytearray(path.read_bytes())
    data[3 * PAGE_BYTES : 9 * PAGE_BYTES] = bytes(6 * PAGE_BYTES)
    path.write_bytes(data)
    with pytest.raises(OutboxError, match="damaged: "):
        waiting(path)
    monkeypatch.setattr(time, "sleep", waited.append)
    with StateLock() as lock:
        lock.hold([tmp_path])
        waited.clear()
        path.write_bytes(b"no database at all" * 100)
        with pytest.raises(OutboxError, match="cannot be counted: it is damaged, or being"):
            waiting(path)
    assert waited == [0.05] * 50
    with pytest.raises(OutboxDamagedError):
        waiting(path)


def test_a_look_that_a_write_comes_between_does_not_count(held, monkeypatch):
    """It is looked once more."""
    path, looks = held / "o.db", []
    with Outbox(path) as outbox:
        outbox.append(sighting())

        class WrittenMeanwhile(Pages):
            def close(self):
                super().close()
                looks.append(outbox.depth().waiting)
                if len(looks) == 1:
                    outbox.append_many([sighting() for _ in range(3)])

        monkeypatch.setattr(outbox_look, "Pages", WrittenMeanwhile)
        assert waiting(path) == 4
    assert looks == [1, 4]


def test_what_cannot_be_read_is_told(tmp_path):
    """A folder where the file belongs, or its log."""
    (tmp_path / "o.db").mkdir()
    with StateLock() as lock:
        lock.hold([tmp_path])
        with pytest.raises(OutboxError, match=r"cannot look into .*o\.db: Is a directory"):
            waiting(tmp_path / "o.db")
    (tmp_path / "p.db").touch()
    (tmp_path / "p.db-wal").mkdir()
    with pytest.raises(OutboxError, match=r"cannot look into .*p\.db: Is a directory"):
        waiting(tmp_path / "p.db")
