"""A damaged outbox, and files that are none."""

from __future__ import annotations

import os
import sqlite3

import pytest
from patience import PATIENCE
from samples import drain, sighting

from edge.errors import OutboxDamagedError, OutboxError
from edge.outbox.outbox import Outbox
from edge.outbox.writer import Writer
from edge.system.counters import Counters


def test_numbers_go_on_beyond_a_damaged_database(tmp_path):
    """The damaged file is kept under another name; numbers continue above all given before."""
    path = tmp_path / "o.db"
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(50)])
    data = bytearray(path.read_bytes())
    data[4096:12288] = os.urandom(8192)
    path.write_bytes(data)
    with Outbox(path) as outbox:
        assert outbox.append(sighting()) > 50
    kept = [p for p in tmp_path.iterdir() if "damaged" in p.name]
    assert bytes(data) in [p.read_bytes() for p in kept]


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_file_that_is_no_database_is_set_aside(tmp_path, content):
    """Rubbish is kept aside; an empty file is simply used."""
    path = tmp_path / "o.db"
    path.write_bytes(content)
    with Outbox(path) as outbox:
        assert outbox.append(sighting()) == 1
    assert any("damaged" in p.name for p in tmp_path.iterdir()) == bool(content)


def test_another_programs_database_is_refused_and_left_alone(tmp_path):
    """An outbox path that points at someone else's data is an error."""
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE precious (x)")
    db.close()
    with pytest.raises(OutboxError, match=r"another program's database; set outbox\.path"):
        Outbox(path)
    assert path.exists()


@pytest.mark.parametrize("by", ["reading", "writing"])
def test_a_database_that_breaks_while_running_is_set_aside(tmp_path, by, connections):
    """Whoever notices the damage gets an error once; then a new file takes over, numbers too."""
    counters, path = Counters(), tmp_path / "o.db"
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(200)])
        connections.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        path.write_bytes(os.urandom(path.stat().st_size))
        if by == "reading":
            with pytest.raises(OutboxDamagedError):
                outbox.page()
            outbox.append(sighting())
        else:
            connections.writer.execute("PRAGMA shrink_memory")
            writer = Writer(outbox, lambda: None, counters, 0, retry_max_seconds=0.05)
            writer.start()
            writer.submit([sighting()])
            assert writer.flush(PATIENCE)
            writer.close()
            assert counters.errors() == {"OutboxDamagedError": 1}
        assert [seq > 200 for seq in drain(outbox)] == [True]
    assert any("damaged" in p.name for p in tmp_path.iterdir())
