"""The outbox's file and those that take its place, in files that hold nothing but words."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from edge.errors import OutboxError
from edge.outbox.file_swap import (
    clear_names,
    discard,
    finish_exchange,
    replacement,
    set_aside,
)


def contents(folder: Path) -> dict[str, str]:
    """What lies in a folder."""
    return {one.name: one.read_text() for one in folder.iterdir()}


def test_a_file_is_set_aside_with_its_log_under_a_name_that_is_free(tmp_path, monkeypatch):
    """Also the third within a second; nothing of what was set aside before is written over."""
    moment = time.gmtime(1_790_000_000)
    monkeypatch.setattr(time, "gmtime", lambda: moment)
    path, stamp = tmp_path / "o.db", "o.db.damaged-20260921T141320Z"
    for number, end in enumerate(("", "-1", "-2")):
        path.write_text(f"file {number}")
        Path(f"{path}-wal").write_text(f"log {number}")
        assert set_aside(path) == tmp_path / f"{stamp}{end}"
    assert contents(tmp_path) == {
        f"{stamp}{end}{log}": f"{'log' if log else 'file'} {number}"
        for number, end in enumerate(("", "-1", "-2"))
        for log in ("", "-wal")
    }


def test_a_file_made_of_a_damaged_one_takes_its_place(tmp_path, monkeypatch):
    """A log without its file is set aside first; the name is on the disk when that is done."""
    path, synced = tmp_path / "o.db", []
    sync = os.fsync

    def noted(one: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{one}"))
        sync(one)

    monkeypatch.setattr(os, "fsync", noted)
    replacement(path).write_text("new")
    Path(f"{path}-wal").write_text("log of the old one")
    finish_exchange(path)
    assert path.read_text() == "new"
    assert not Path(f"{path}-wal").exists()
    assert "log of the old one" in contents(tmp_path).values()
    assert not replacement(path).exists()
    assert synced == [str(tmp_path)]


def test_a_file_that_may_not_be_whole_is_removed_with_its_log(tmp_path):
    """The damaged one is still there: it is saved again, from the beginning."""
    path = tmp_path / "o.db"
    path.write_text("damaged")
    for end in ("", "-wal", "-shm"):
        Path(f"{replacement(path)}{end}").write_text("begun")
    finish_exchange(path)
    assert contents(tmp_path) == {"o.db": "damaged"}
    finish_exchange(path)
    discard(replacement(path))
    assert contents(tmp_path) == {"o.db": "damaged"}


def test_a_disk_that_refuses_a_name_is_told(tmp_path, monkeypatch):
    """And the file that was made stays for the next time."""
    path = tmp_path / "o.db"
    replacement(path).write_text("new")

    def refuse(_from, _to):
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(OutboxError, match=r"o\.db: Operation not permitted; .* be writable"):
            finish_exchange(path)
    finish_exchange(path)
    assert contents(tmp_path) == {"o.db": "new"}


@pytest.mark.parametrize("name", ["o.db", "o.db-wal", "o.db-shm", "o.db.salvaged"])
def test_what_is_no_file_is_put_aside(tmp_path, name):
    """Files, and a link that leads nowhere, stay."""
    path = tmp_path / "o.db"
    for one in ("o.db", "o.db-wal", "o.db-shm", "o.db.salvaged"):
        if one == name:
            (tmp_path / one).mkdir()
        elif one == "o.db-wal":
            (tmp_path / one).symlink_to("nowhere")
        else:
            (tmp_path / one).write_text("a file")
    before = {one.name for one in tmp_path.iterdir()}
    clear_names(path)
    assert {one.name for one in tmp_path.iterdir()} == before - {name} | {f"{name}.aside-1"}
