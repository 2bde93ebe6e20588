"""One program writes to a folder of state; whoever only looks leaves it as it is."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import devices
import pytest
from brokers import free_port
from patience import wait_for
from samples import sighting

from edge.errors import StateBusyError, StateError
from edge.outbox.inspection import waiting
from edge.outbox.outbox import Outbox
from edge.system.state_lock import NAME, StateLock, holder, is_held

LOOP = "loop = true\nframes_per_second = 50.0"


def contents(folder):
    """Every file below a folder with its bytes and the time of its last change."""
    return {
        file.relative_to(folder).as_posix(): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.fixture
def running(tmp_path):
    """A device that writes sightings fast, and reaches no broker."""
    devices.photos(tmp_path / "photos", 6)
    config = devices.config(tmp_path, free_port(), camera=LOOP)
    process = devices.start("run", "--config", str(config))
    wait_for(lambda: is_held(tmp_path) and waiting(tmp_path / "outbox.db"))
    yield config, process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def test_a_second_device_on_a_folder_is_refused_and_told_by_whom(tmp_path, running):
    """Also by another name of the folder; the first goes on."""
    config, process = running
    other = tmp_path.with_name(f"{tmp_path.name}-link")
    other.symlink_to(tmp_path)
    for path in (config, other / "config.toml"):
        second = devices.start("run", "--once", "--config", str(path))
        _, told = second.communicate(timeout=30)
        assert second.returncode == 1
        assert f"in use by process {process.pid}" in told
        assert "run --config" in told
        assert "systemctl stop wheatear" in told
    assert process.poll() is None


def test_removing_the_lock_file_lets_no_second_device_in(tmp_path, running):
    """Somebody tidies up under a running device; it is the folder that is held."""
    config, process = running
    (tmp_path / NAME).unlink()
    assert is_held(tmp_path)
    folder = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(folder)
    second = devices.start("run", "--once", "--config", str(config))
    _, told = second.communicate(timeout=30)
    assert second.returncode == 1
    assert f"{tmp_path} is in use by another program" in told
    assert process.poll() is None


def test_the_lock_of_a_killed_device_is_free(tmp_path, running):
    """The kernel lets it go; nothing has to be cleaned up."""
    _, process = running
    assert is_held(tmp_path)
    process.kill()
    process.communicate(timeout=20)
    with StateLock() as lock:
        lock.hold([tmp_path])
        assert holder(tmp_path).startswith(f"process {os.getpid()} (")


def test_looking_beside_a_running_device_neither_disturbs_it_nor_fails(tmp_path, running):
    """A hundred looks while it writes: none sees damage, nothing is set aside, nothing is made."""
    _, process = running
    before = set(os.listdir(tmp_path))
    counts = [waiting(tmp_path / "outbox.db") for _ in range(100)]
    assert counts == sorted(counts)
    assert {name for name in os.listdir(tmp_path) if ".new" not in name} <= before | {
        "outbox.db.seq",
        "outbox.db.room",
    }
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    with Outbox(tmp_path / "outbox.db") as outbox:
        assert outbox.depth().waiting >= counts[-1] > 0
    assert not list(tmp_path.glob("*damaged*"))


def test_check_changes_nothing_beside_a_device_that_was_killed(tmp_path, running):
    """Its log is there with what it wrote last; that is counted, and all files stay as they are."""
    config, process = running
    process.kill()
    process.communicate(timeout=20)
    assert (tmp_path / "outbox.db-wal").stat().st_size
    before, count = contents(tmp_path), waiting(tmp_path / "outbox.db")
    done = subprocess.run(
        [sys.executable, "-m", "edge", "check", "--config", config],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"outbox.db, {count} waiting" in done.stdout
    assert contents(tmp_path) == before
    with Outbox(tmp_path / "outbox.db") as outbox:
        assert outbox.depth().waiting == count


def test_a_log_is_counted_without_a_copy(tmp_path, monkeypatch):
    """As on a card that was copied, or after a kill: nothing is written, here or elsewhere."""
    card, path = tmp_path / "card", tmp_path / "card" / "outbox.db"
    card.mkdir()
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(3)])
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(4)])
        kept = {f"outbox.db{one}": Path(f"{path}{one}").read_bytes() for one in ("", "-wal")}
    for file in card.iterdir():
        file.unlink()
    for name, content in kept.items():
        (card / name).write_bytes(content)
    before = contents(card)
    monkeypatch.setattr(tempfile, "tempdir", "/proc/none")
    assert waiting(path) == 7
    assert contents(card) == before


def test_looking_at_what_a_killed_device_left_copies_nothing(tmp_path, running, monkeypatch):
    """Its log is there; no room is needed elsewhere."""
    _, process = running
    process.kill()
    process.communicate(timeout=20)
    monkeypatch.setattr(tempfile, "tempdir", "/proc/none")
    before, count = contents(tmp_path), waiting(tmp_path / "outbox.db")
    assert contents(tmp_path) == before
    with Outbox(tmp_path / "outbox.db") as outbox:
        assert outbox.depth().waiting == count > 0


def test_check_makes_nothing_where_no_device_ever_ran(tmp_path):
    """Neither an outbox nor a lock nor a folder."""
    devices.photos(tmp_path / "photos", 1)
    state = '[outbox]\npath = "state/outbox.db"\n[inbox]\nkeep = ["unsure"]\n'
    config = devices.config(tmp_path, free_port(), extra=state.replace('keep = ["unsure"]', ""))
    before = contents(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "edge", "check", "--config", config], capture_output=True, text=True
    )
    assert "outbox.db, 0 waiting" in done.stdout
    assert contents(tmp_path) == before
    assert not (tmp_path / "state").exists()


def test_an_outbox_on_a_read_only_medium_is_read(tmp_path):
    """A card that was taken out of a device, mounted so that nothing on it changes."""
    card, mounted = tmp_path / "card", tmp_path / "mounted"
    card.mkdir(), mounted.mkdir()
    with Outbox(card / "outbox.db") as outbox:
        outbox.append_many([sighting() for _ in range(3)])
        for name in os.listdir(card):  # as after a cut of the power
            (tmp_path / name).write_bytes((card / name).read_bytes())
    for name in os.listdir(card):
        (card / name).write_bytes((tmp_path / name).read_bytes())
    (card / "outbox.db-wal").write_bytes((tmp_path / "outbox.db-wal").read_bytes())
    mount = ["mount", "--bind", "-o", "ro", str(card), str(mounted)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("NOT ROOT: nothing can be mounted")
    try:
        assert waiting(mounted / "outbox.db") == 3
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


@pytest.fixture
def open_folder():
    """A folder that other users reach; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_as_root_check_says_what_the_owner_of_the_state_would_meet(open_folder):
    """Root may write everywhere; the device's user may not."""
    if os.geteuid() != 0:
        pytest.skip("NOT ROOT: it is who it is")
    devices.photos(open_folder / "photos", 1)
    state = open_folder / "state"
    state.mkdir(mode=0o555)
    config = devices.config(open_folder, free_port(), extra='[outbox]\npath = "state/outbox.db"\n')
    os.chown(state, 65534, 65534)
    done = subprocess.run(
        [sys.executable, "-m", "edge", "check", "--config", config], capture_output=True, text=True
    )
    assert done.stdout.startswith("as user nobody, who owns the device's state"), done.stderr
    assert f"cannot write to {state} as user nobody" in done.stdout
    assert not any(state.iterdir())


def test_a_program_that_the_user_of_the_state_cannot_read_is_told(open_folder):
    """As when the environment lies in root's home: the service would not even start."""
    if os.geteuid() != 0:
        pytest.skip("NOT ROOT: it is who it is")
    (open_folder / "shown.py").touch()
    (open_folder / "home").mkdir(mode=0o700)
    (open_folder / "home" / "hidden.py").touch()
    code = (
        "import os, sys; from edge.commands.check import readable; os.setuid(65534)\n"
        "print(readable('nobody', sys.argv[1:2])); readable('nobody', sys.argv[1:])"
    )
    names = [open_folder / "shown.py", open_folder / "home" / "hidden.py"]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True)
    assert done.stdout == "can be read by nobody\n"
    assert f"StateError: user nobody cannot read {names[1]}, so no device" in done.stderr


def test_a_child_process_does_not_hold_the_lock(tmp_path):
    """Such as the one that tries a new model, and may outlive the device."""
    with StateLock() as lock:
        lock.hold([tmp_path])
        command = [sys.executable, "-c", "input()"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, close_fds=False)
    try:
        wait_for(lambda: not is_held(tmp_path))  # until the child runs a program of its own
        assert child.poll() is None
    finally:
        child.communicate(b"\n", timeout=20)


def test_folders_are_held_on_taken_up_and_let_go(tmp_path):
    """As configurations come and go in one process."""
    a, b, c = (tmp_path / "made" / name for name in "abc")
    with StateLock() as lock, StateLock() as other:
        lock.hold([a, b, a])
        lock.hold([b, c])
        assert [is_held(one) for one in (a, b, c)] == [False, True, True]
        with pytest.raises(StateBusyError, match=f"^{b} is in use by process"):
            other.hold([a, b])
        assert not is_held(a), "what it had got before it was refused"
        lock.close()
        other.hold([a, b, c])


def test_a_lock_file_that_root_made_can_be_held(tmp_path):
    """It is the folder that is held; by whom is then unknown."""
    (tmp_path / NAME).mkdir()  # root opens all else
    with StateLock() as lock:
        lock.hold([tmp_path])
        assert is_held(tmp_path)
        assert holder(tmp_path) == "another program"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_no_folder_from_being_held(tmp_path, monkeypatch, number):
    """Only who holds it is then unknown."""

    def refuse(path, *arguments, real=os.open):
        if Path(path).name == NAME:
            raise OSError(number, os.strerror(number))
        return real(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    with StateLock() as lock:
        lock.hold([tmp_path])
        assert is_held(tmp_path)
    assert not is_held(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, number):
    """Nothing would keep two devices apart there."""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with StateLock() as lock, pytest.raises(StateError, match=f"{tmp_path} does not support locks"):
        lock.hold([tmp_path])
