"""Several hands on a folder of models: the device, and people at the device, some of them root."""

from __future__ import annotations

import io
import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import devices
import msgspec
import pytest
from test_models import Place
from there import there

from edge.commands.cli import main
from edge.errors import ProofError, UpdateError
from edge.updates import install as installing
from edge.updates.install import bring
from edge.updates.record import Record, read
from edge.updates.store import RECORD

ADDS = """
import sys
from pathlib import Path
import msgspec
from edge.messages.updates import ModelEntry
from edge.updates.store import Store
store, name = Store(Path(sys.argv[1])), sys.argv[2]
for number in range(int(sys.argv[3]), 10_000):
    id = f"{name}-{number}"
    entry = ModelEntry(name=name, version=str(number), sha256="0" * 64, bytes=1, labels=("a",))
    store.change(
        lambda record: msgspec.structs.replace(record, models={**record.models, id: entry})
    )
    print(number, flush=True)
"""


def adds(folder: Path, name: str, first: int) -> subprocess.Popen[str]:
    """Add models to a record, one change each, until killed; what is in is told."""
    arguments = [sys.executable, "-c", ADDS, str(folder), name, str(first)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_two_that_write_at_once_and_are_killed_lose_nothing_that_was_written(tmp_path):
    """Whoever is told that a change is in finds it, whatever the other did, and whenever the power
    went; at no time is the record anything but whole.
    """
    told: dict[str, int] = {"device": -1, "person": -1}
    for _ in range(3):
        running = {name: adds(tmp_path, name, last + 1) for name, last in told.items()}
        for name, process in running.items():
            for _ in range(4):
                told[name] = int(there(process.stdout).readline())
                read(tmp_path / RECORD)
        for name, process in running.items():
            process.kill()
            for line in process.communicate()[0].splitlines(keepends=True):
                if line.endswith("\n"):
                    told[name] = int(line)
    models = read(tmp_path / RECORD).models
    for name, last in told.items():
        assert last >= 11
        assert {f"{name}-{number}" for number in range(last + 1)} <= set(models)


def contents(folder: Path) -> dict[Path, tuple[int, int]]:
    """All that lies in a folder, by whose it is and when it was changed."""
    return {one: (one.stat().st_uid, one.stat().st_mtime_ns) for one in folder.rglob("*")}


def test_a_list_of_models_makes_nothing(tmp_path, capsys):
    """Neither where there is no store yet, nor where there is one."""
    devices.bundle(tmp_path / "model.wtr")
    path = devices.config(tmp_path, 1)
    path.write_text(path.read_text().replace('"fake"', '"fake"\nstore = "models"'))
    before = contents(tmp_path)
    assert main(["model", "list", "--config", str(path)]) == 0
    assert "colours 1" in capsys.readouterr().out
    assert contents(tmp_path) == before
    assert not (tmp_path / "models").exists()


@pytest.fixture
def place():
    """A device of the user nobody, with two models."""
    if os.geteuid() != 0:
        pytest.skip("NOT ROOT: nobody else can become somebody")
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as name:
        made = Place(Path(name))
        made.install(made.bundle("2"))
        made.store.change(lambda record: msgspec.structs.replace(record, probation=None))
        for one in (Path(name), *Path(name).rglob("*")):
            os.chown(one, nobody.pw_uid, nobody.pw_gid)
        os.chmod(name, 0o755)
        yield made, nobody.pw_uid


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    return subprocess.run(
        [sys.executable, "-m", "edge", *arguments], capture_output=True, text=True, timeout=60
    )


def test_what_root_changes_stays_the_devices(place):
    """A list changes nothing; a way back is written as the device's user would have."""
    made, owner = place
    before = contents(made.folder)
    listed = run("model", "list", "--config", str(made.path))
    assert "colours 2" in listed.stdout
    assert contents(made.folder) == before
    done = run("model", "rollback", "--config", str(made.path))
    assert done.returncode == 0, done.stderr
    assert made.store.read().current is None
    assert {uid for uid, _ in contents(made.folder).values()} == {owner}


def test_root_brings_a_bundle_that_the_devices_user_cannot_read(place):
    """What comes of it is written as that user, who may not even run this interpreter."""
    made, owner = place
    with tempfile.TemporaryDirectory() as closed:
        bundle = devices.bundle(Path(closed) / "three.wtr", version="3")
        done = run("model", "install", "--config", str(made.path), str(bundle))
    assert "cannot read" not in done.stderr
    assert "cannot copy" not in done.stderr
    assert {uid for uid, _ in contents(made.folder).values()} == {owner}


def test_a_bundle_that_is_not_there_is_named(tmp_path, capsys):
    """Before anything is made."""
    devices.bundle(tmp_path / "model.wtr")
    path = devices.config(tmp_path, 1)
    path.write_text(path.read_text().replace('"fake"', '"fake"\nstore = "models"'))
    assert main(["model", "install", "--config", str(path), str(tmp_path / "none.wtr")]) == 1
    assert f"cannot read {tmp_path}/none.wtr: No such file" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_of_two_installs_at_once_one_is_taken_and_the_other_is_told_why(tmp_path):
    """Whichever was first; what runs then is whole."""
    made = Place(tmp_path)
    bundles = [made.bundle("2"), made.bundle("3")]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "edge", "model", "install", "--config", made.path, one],
            stderr=subprocess.PIPE,
            text=True,
        )
        for one in bundles
    ]
    told = [process.communicate(timeout=60)[1] for process in running]
    assert sorted(process.returncode for process in running) == [0, 1]
    refused = next(said for one, said in zip(running, told, strict=True) if one.returncode)
    assert "another update is under way" in refused or "is on probation" in refused
    taken = next(version for one, version in zip(running, "23", strict=True) if not one.returncode)
    assert made.open() == taken
    assert list(made.store.read().models) == [one.stem for one in made.store.bundles.iterdir()]
    assert not list(made.store.incoming.iterdir())


class Changing(io.BufferedReader):
    """A bundle that somebody changes when a part of it was read."""

    def __init__(self, path: Path, change) -> None:
        super().__init__(io.FileIO(path))
        self._change = change

    def read(self, size=-1):
        """Read a part; then have it changed."""
        piece = super().read(min(size, 1000) if size > 0 else size)
        if self._change is not None:
            self._change()
            self._change = None
        return piece


def test_a_bundle_that_is_exchanged_while_it_is_copied_is_taken_as_it_was_or_not_at_all(tmp_path):
    """Another file under its name is not mixed in; what is written into it is found out."""
    made = Place(tmp_path)
    two, other = made.bundle("2"), made.bundle("3", size=16)

    def install(change):
        with made.store.installing(), Changing(two, change) as opened:
            return made.installed(bring(made.store, opened))

    before = two.read_bytes()
    with pytest.raises(ProofError, match="Bundle"):
        install(lambda: two.write_bytes(before[:500] + other.read_bytes()[500:]))
    assert made.store.read() == Record()
    two.write_bytes(before)
    with pytest.raises(ProofError, match="Bundle"):
        install(lambda: os.truncate(two, 500))
    two.write_bytes(before)
    install(lambda: other.replace(two))
    assert made.open() == "2"


def test_what_has_no_end_is_no_bundle(tmp_path, monkeypatch):
    """A device or a pipe tells no size, and would fill the disk."""
    monkeypatch.setattr(installing, "MAX_BUNDLE_BYTES", 3_000_000)
    made = Place(tmp_path)
    with pytest.raises(UpdateError, match="/dev/zero has 3145728 bytes or more; a"):
        made.install(Path("/dev/zero"))
    assert not list(made.store.incoming.iterdir())


@pytest.mark.parametrize("files", [6, 8, 10, 20])
def test_an_install_that_may_open_few_files_ends_well_or_says_so(tmp_path, files):
    """In words; the model before goes on."""
    made = Place(tmp_path)
    command = [sys.executable, "-m", "edge", "model", "install", "--config", str(made.path)]
    done = subprocess.run(
        ["prlimit", f"--nofile={files}", *command, made.bundle("2")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    assert made.open() == ("2" if done.returncode == 0 else "1")
    assert (done.returncode == 0) == (done.stderr == "")
    assert files < 20 or done.returncode == 0
