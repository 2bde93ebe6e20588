"""Which folders a device holds, what is said where it cannot, and what stays open afterwards."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat
import sys
import time
from pathlib import Path

import devices
import msgspec
import pytest
from open_files import open_files

from edge.config.load import load_config
from edge.errors import StateBusyError, StateError
from edge.system.state_lock import NAME, StateLock, holder, is_held, state_folders


def test_the_folders_of_what_is_configured_are_held_each_once(tmp_path):
    """The outbox's always; that of the inbox where pictures are kept, that of models if any."""
    devices.photos(tmp_path / "photos", 1)
    config = load_config(devices.config(tmp_path, 1883))
    inbox, model = config.inbox, config.model

    def folders(keep: bool, folder: Path | None, store: Path | None) -> list[Path]:
        return state_folders(
            msgspec.structs.replace(
                config,
                inbox=msgspec.structs.replace(inbox, keep=keep, folder=folder),
                model=msgspec.structs.replace(model, store=store),
            )
        )

    elsewhere = tmp_path / "elsewhere"
    assert folders(False, None, None) == [tmp_path]
    assert folders(False, elsewhere, None) == [tmp_path]
    assert folders(True, None, None) == [tmp_path, tmp_path / "inbox"]
    assert folders(True, elsewhere, elsewhere) == [tmp_path, elsewhere]
    assert folders(True, tmp_path, elsewhere) == [tmp_path, elsewhere]


def test_a_look_that_takes_a_moment_refuses_no_device(tmp_path, monkeypatch):
    """It is waited for; whoever holds on is told of after a while."""
    looking = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)

    def look_ends(seconds: float) -> None:
        assert 0 < seconds < 1
        fcntl.flock(looking, fcntl.LOCK_UN)

    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", look_ends)
        with StateLock() as lock:
            lock.hold([tmp_path])
            assert is_held(tmp_path)
    assert not is_held(tmp_path)
    os.close(looking)


def test_who_holds_a_folder_stands_in_it(tmp_path, monkeypatch):
    """In place of whatever stood there; all may read it."""
    monkeypatch.setattr(sys, "argv", ["/opt/bin/wheatear", "run", "--once", "a\nb"])
    (tmp_path / NAME).write_text("somebody with a very long name\n" * 5)
    (tmp_path / NAME).unlink()
    umask = os.umask(0)
    try:
        for _ in range(2):
            with StateLock() as lock:
                lock.hold([tmp_path])
            told = holder(tmp_path)
            assert told.startswith(f"process {os.getpid()} (wheatear run --once a")
            assert told.endswith("b)")
            assert (tmp_path / NAME).read_text() == f"{told}\n"
            (tmp_path / NAME).write_text("somebody with a very long name\n" * 5)
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o644


def test_nothing_stays_open(tmp_path, monkeypatch):
    """Not of what was held, looked at, or refused."""
    before = open_files()
    with StateLock() as lock, StateLock() as other:
        lock.hold([tmp_path / "a", tmp_path / "b"])
        assert (open_files() - before).total() == 2
        assert is_held(tmp_path / "a")
        monkeypatch.setattr("edge.system.state_lock._PATIENCE_SECONDS", 0.0)
        with pytest.raises(StateBusyError):
            other.hold([tmp_path / "c", tmp_path / "a"])
        assert (open_files() - before).total() == 2
        lock.hold([tmp_path / "b"])
        assert (open_files() - before).total() == 1
    assert open_files() <= before
    assert not is_held(tmp_path / "none")
    assert open_files() <= before


def test_a_folder_that_cannot_be_is_named(tmp_path):
    """A file lies in its way: to make it, or to look at it."""
    (tmp_path / "file").touch()
    with StateLock() as lock, pytest.raises(StateError, match=r"cannot create .*file/a for the"):
        lock.hold([tmp_path / "file" / "a"])
    with pytest.raises(StateError, match=r"cannot read .*file: Not a directory"):
        is_held(tmp_path / "file")


def test_a_computer_out_of_descriptors_is_told(tmp_path):
    """The folder is there, and cannot be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with StateLock() as lock, pytest.raises(StateError, match=r"cannot read .*Too many open"):
            lock.hold([tmp_path])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOLCK, "does not support locks"),
        (errno.EINVAL, "does not support locks"),
        (errno.EIO, "cannot lock .*: Input/output error"),
    ],
)
def test_a_lock_that_is_refused_is_told(tmp_path, monkeypatch, number, told):
    """By whoever holds, and by whoever looks; nothing stays open."""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    before = open_files()
    monkeypatch.setattr(fcntl, "flock", refuse)
    with StateLock() as lock, pytest.raises(StateError, match=told):
        lock.hold([tmp_path])
    with pytest.raises(StateError, match=told):
        is_held(tmp_path)
    assert open_files() <= before


def test_a_folder_that_takes_no_files_is_no_place_for_state(tmp_path, monkeypatch):
    """It can be locked all the same; that is let go."""

    def refuse(path, *arguments, real=os.open):
        if Path(path).name == NAME:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    with StateLock() as lock, pytest.raises(StateError, match=r"cannot write to .*Read-only"):
        lock.hold([tmp_path])
    assert not is_held(tmp_path)
