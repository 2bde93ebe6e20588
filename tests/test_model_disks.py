"""Disks that refuse at any step of an update: a model goes on, and the next update is taken."""

from __future__ import annotations

import errno
import hashlib
import shutil
import subprocess
from contextlib import contextmanager, suppress

import pytest
from steps import NAMES, Refusing, descriptors
from test_models import CLOCK, Place

from edge.errors import StoreError, WheatearError
from edge.updates import install as installing
from edge.updates.install import roll_back
from edge.updates.jobs import Job, Jobs
from edge.updates.proof import Proof, prove_apart
from edge.updates.startup import begin

ROOM = ("open", "mkdir", "write", "sendfile", "fsync")
"""What takes room, or learns that there is none."""
JOB = Job(update="u", source=None, sha256=None, allow_downgrade=False)
PROOFS: dict[str, Proof] = {}
"""By the hash of the bundle."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A device with a confirmed model 2 in its store; bundles are proved once for all attempts."""
    made = Place(tmp_path)

    def prove(file, model, stop):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if digest not in PROOFS:
            PROOFS[digest] = prove_apart(file, model, stop)
        return PROOFS[digest]

    monkeypatch.setattr(installing, "prove_apart", prove)
    made.install(made.bundle("2"))
    made.confirm()
    for version in ("3", "4"):  # with all descriptors and all of the disk
        prove(made.bundle(version), made.config.model, lambda: False)
    return made


def sound(place):
    """Start on a disk that is well again: gives the version, which is what the record says."""
    record = place.store.read()
    version = place.open()
    assert version == ("1" if record.current is None else record.models[record.current].version)
    assert place.store.read().current == record.current
    for id in {record.current, record.previous} - {None}:
        digest = hashlib.sha256(place.store.path(id).read_bytes()).hexdigest()
        assert digest == record.models[id].sha256
    aside = [one.name for one in place.store.folder.iterdir() if ".damaged" in one.name]
    assert aside + [one.name for one in place.store.folder.rglob("*.aside-*")] == []
    return version


def takes_the_next(place):
    """Install another one, and see that nothing else is left."""
    place.confirm()
    place.install(place.folder / "new-4.wtr", allow_downgrade=True)
    assert sound(place) == "4"
    record = place.store.read()
    assert {one.stem for one in place.store.bundles.iterdir()} == set(record.models)
    assert not list(place.store.incoming.iterdir())


def live(place, refused=WheatearError):
    """Install, start, confirm, go back; what the disk refuses is left out. Gives what went well."""
    well = []
    for name, step in (
        ("install", lambda: place.install(place.folder / "new-3.wtr")),
        ("begin", lambda: counted(begin(place.store, 3, CLOCK))),
        ("confirm", place.confirm),
        ("back", lambda: roll_back(place.store, "a test", CLOCK.now())),
    ):
        with suppress(refused):
            step()
            well.append(name)
    return well


def counted(record):
    """See that no model on probation is started without that being written down."""
    assert record.probation is None or record.probation.starts == 1


@pytest.mark.parametrize("stays", [True, False], ids=["for good", "once"])
@pytest.mark.parametrize(
    ("error", "only"), [(errno.ENOSPC, ROOM), (errno.EROFS, NAMES), (errno.EIO, NAMES)]
)
def test_a_disk_that_refuses_at_any_step_of_an_update_strands_no_camera(
    place, tmp_path, error, only, stays
):
    """Full, read-only or broken, for good or once: an error of ours, and a model that works."""
    before = tmp_path / "before"
    shutil.copytree(place.store.folder, before)
    for number in range(1000):
        disk = Refusing(number, error, stays, only)
        with disk.on(place.store.folder):
            well = live(place)
        version = sound(place)
        if {"install", "back"} <= set(well):
            assert version == "2"
        if not disk.refused:
            break
        takes_the_next(place)
        shutil.rmtree(place.store.folder)
        shutil.copytree(before, place.store.folder)
    assert number >= 15
    assert well == ["install", "begin", "confirm", "back"]


def test_too_many_open_files_at_any_point_of_an_update_harm_nothing(place, tmp_path):
    """Whatever is not read for want of a descriptor is not taken for damaged."""
    before = tmp_path / "before"
    shutil.copytree(place.store.folder, before)
    jobs = Jobs(place.store)
    for left in range(20):
        jobs.put(JOB)
        with descriptors(left):
            well = live(place, OSError)  # also that of the test itself
            with suppress(StoreError):
                jobs.read()
        assert jobs.read() == JOB
        jobs.drop(JOB)
        jobs = Jobs(place.store)
        version = sound(place)
        if not well:
            assert version == "2"
        takes_the_next(place)
        shutil.rmtree(place.store.folder)
        shutil.copytree(before, place.store.folder)
    assert well == ["install", "begin", "confirm", "back"]


@contextmanager
def immutable(*paths):
    """Nobody may change these, root included."""
    if subprocess.run(["chattr", "+i", *paths], capture_output=True, check=False).returncode:
        subprocess.run(["chattr", "-i", *paths], capture_output=True, check=False)
        pytest.skip("NO CHATTR: not root, or a file system that knows no such thing")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *paths], check=True)


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("models.json", "cannot write .*models.json: Operation not permitted"),
        ("incoming/file.part", "cannot copy .*: Operation not permitted"),
        ("incoming", "cannot copy .*: Operation not permitted"),
        ("bundles", "cannot keep .*: Operation not permitted"),
        (".", "cannot write .*models.json: Operation not permitted"),
        ("lock", None),
        ("install.lock", None),
        ("bundles/colours-2", None),
        ("bundles/stray.wtr", None),
    ],
)
def test_what_nobody_may_change_in_a_store_strands_no_camera(place, name, refusal, caplog):
    """An update is refused by name, or done around it; the model before, or the new one, runs."""
    (place.store.incoming / "file.part").touch()
    (place.store.bundles / "stray.wtr").touch()
    if name == "bundles/colours-2":
        name = f"bundles/{place.store.read().current}.wtr"
    with immutable(place.store.folder / name):
        if refusal is None:
            place.install(place.folder / "new-3.wtr")
            assert sound(place) == "3"
        else:
            with pytest.raises(StoreError, match=refusal):
                place.install(place.folder / "new-3.wtr")
            assert sound(place) == "2"
        assert ("stray.wtr cannot be removed" in caplog.text) == (name == "bundles/stray.wtr")
    takes_the_next(place)
