"""Several hands on a folder of models: the device, and people at the device, some of them root."""

from __future__ import annotations

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

from edge.cli import main
from edge.models.record import read
from edge.models.store import RECORD

ADDS = """
import sys
from pathlib import Path
import msgspec
from edge.models.record import Entry
from edge.models.store import Store
store, name = Store(Path(sys.argv[1])), sys.argv[2]
for number in range(int(sys.argv[3]), 10_000):
    id = f"{name}-{number}"
    entry = Entry(name=name, version=str(number), sha256="0" * 64, bytes=1, labels=("a",))
    store.change(
        lambda record: msgspec.structs.replace(record, models={**record.models, id: entry})
    )
    print(number, flush=True)
"""


def adds(folder: Path, name: str, first: int) -> subprocess.Popen:
    """Add models to a record, one change each, until killed; what is in is told."""
    arguments = [sys.executable, "-c", ADDS, folder, name, str(first)]
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
                told[name] = int(process.stdout.readline())
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
    """Give all that lies in a folder, by whose it is and when it was changed."""
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


def run(*arguments: str) -> subprocess.CompletedProcess:
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
