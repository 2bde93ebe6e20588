"""Models that come later: what is refused, what is kept, and what a start takes."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import devices
import msgspec
import proofs
import pytest
import tiny

from edge.config import Update, load_config
from edge.errors import (
    ProofError,
    StoreError,
)
from edge.messages.updates import ModelEntry, Probation
from edge.model.runtimes.fake import Fault
from edge.system.clock import SystemClock
from edge.updates.install import bring, install
from edge.updates.load import load_bundle
from edge.updates.proof import prove_apart
from edge.updates.record import Record
from edge.updates.startup import open_current
from edge.updates.store import Store

CLOCK = SystemClock()
NOBODY = 65534


class Place:
    """A configured device with a store, without a running agent."""

    def __init__(self, folder: Path, model: str = "", fault=None):
        self.folder = folder
        devices.bundle(folder / "model.wtr", fault=fault)
        path = devices.config(folder, 1)
        text = path.read_text().replace(
            'runtime = "fake"\n', f'runtime = "fake"\nstore = "models"\n{model}\n', 1
        )
        path.write_text(text)
        self.path, self.config = path, load_config(path)
        assert self.config.model.store is not None
        self.store = Store(self.config.model.store)

    def install(self, file: Path, **options):
        """Install a file."""
        with self.store.installing():
            with file.open("rb") as opened:
                copied = bring(self.store, opened)
            return self.installed(copied, **options)

    def installed(self, copied: Path, **options):
        """Install what lies in the store already, with the store held."""
        return install(self.store, self.config.model, copied, **options)

    def bundle(self, version: str, **options) -> Path:
        """Write a bundle to install."""
        return devices.bundle(self.folder / f"new-{version}.wtr", version=version, **options)

    def confirm(self) -> None:
        """Take the current model off probation."""
        self.store.change(lambda record: msgspec.structs.replace(record, probation=None))

    def open(self) -> str:
        """Start: give the version of the model that a device takes."""
        model = self.config.model
        load = lambda path: load_bundle(path, model)  # noqa: E731
        classifier, _ = open_current(self.store, model, load, CLOCK)
        with classifier:
            return classifier.model_info.version


@pytest.fixture(name="place")
def proved_here(tmp_path, monkeypatch):
    """A device with a store; what it installs is proved in this process."""
    proofs.in_this_process(monkeypatch)
    return Place(tmp_path)


def test_a_new_model_is_proved_kept_and_put_on_probation(place):
    """The record names it, with the factory model behind it; labels are compared."""
    done = place.install(place.bundle("2", colours=devices.COLOURS | {"mite": (250, 250, 250)}))
    record = place.store.read()
    assert (record.current, record.previous, record.probation) == (done.id, None, Probation())
    assert done.labels_added == ("mite",)
    assert done.labels_removed == ()
    assert place.open() == "2"
    assert place.store.read().probation.starts == 1
    assert not list(place.store.incoming.iterdir())


@pytest.mark.parametrize(
    ("fault", "seconds", "said"),
    [
        (Fault(kind="crash"), 60, "SIGSEGV"),
        (Fault(kind="hang"), 1, "proof_seconds = 1"),
        (Fault(kind="memory"), 60, "memory"),
        (Fault(kind="error"), 60, "ModelError: the fake model fails"),
    ],
)
def test_a_model_that_fails_in_its_trial_is_an_error_with_a_name(tmp_path, fault, seconds, said):
    """Crash, hang, memory and error stay in the other process; the device goes on as it was."""
    limits = f"proof_seconds = {seconds:.1f}\nproof_bytes = 256_000_000"
    place = Place(tmp_path, f"[model.update]\n{limits}")
    with pytest.raises(ProofError, match=said):
        place.install(place.bundle("2", fault=fault))
    assert place.store.read() == Record()
    assert not list(place.store.bundles.iterdir()) + list(place.store.incoming.iterdir())
    assert place.open() == "1"


def test_damaged_bundles_are_refused_whatever_byte_is_wrong(place):
    """Flipped and missing bytes anywhere: never installed, never anything left behind."""
    sound = place.bundle("2").read_bytes()
    dice = random.Random(7)
    for _ in range(6):
        at = dice.randrange(len(sound))
        broken = bytearray(sound)
        broken[at] ^= 1 << dice.randrange(8)
        file = place.folder / "broken.wtr"
        file.write_bytes(bytes(broken) if dice.random() < 0.7 else sound[:at])
        with pytest.raises(ProofError, match="Bundle"):
            place.install(file)
    assert place.store.read() == Record()
    assert not list(place.store.bundles.iterdir()) + list(place.store.incoming.iterdir())


def test_the_real_interpreter_proves_a_real_model(tmp_path):
    """LiteRT runs the int8 model in the other process, within the memory limit."""
    pytest.importorskip("ai_edge_litert")
    place = Place(tmp_path)
    model = msgspec.structs.replace(place.config.model, runtime="litert", update=Update())
    proof = prove_apart(tiny.write(tmp_path / "tiny.wtr"), model)
    assert (proof.name, proof.runtime, proof.goldens) == ("tiny", "litert", 3)
    first, *others = tiny.manifest().goldens
    wrong = msgspec.structs.replace(first, scores=(-128, -128, 127))
    with pytest.raises(ProofError, match="SelfTestError"):
        prove_apart(tiny.write(tmp_path / "wrong.wtr", goldens=(wrong, *others)), model)


def command(*arguments: object, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``wheatear model`` with `text` on stdin."""
    return subprocess.run(
        [sys.executable, "-m", "edge", "model", *map(str, arguments)],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_check_looks_at_the_configured_bundle_too_where_another_runs(place):
    """It is the last resort; that it is gone would be noticed only when it is needed."""
    config = ("--config", place.path)
    command("install", place.bundle("2"), *config)
    check = [sys.executable, "-m", "edge", "check", *map(str, config)]
    said = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False).stdout
    assert re.search(r"^factory model +ok      model.bundle, colours 1 ", said, re.M), said
    place.config.model.bundle.unlink()
    said = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False).stdout
    assert re.search(r"^model +ok      colours 2, ", said, re.M), said
    assert re.search(r"^factory model +FAILED  .*No such file or directory; give", said, re.M), said


def test_models_are_managed_on_the_command_line(place):
    """Install, list, roll back, verify: each says what it did, or why not."""
    config = ("--config", place.path)
    new = place.bundle("2")
    assert "colours-2-" in command("install", new, *config).stdout
    listed = command("list", *config).stdout.splitlines()
    assert "colours 1" in listed[0]
    assert "previous" in listed[0]
    assert "factory" in listed[0]
    assert "colours 2" in listed[1]
    assert "on probation (start 0)" in listed[1]
    assert "factory model" in command("rollback", *config).stdout
    again = command("rollback", *config)
    assert (again.returncode, again.stdout) == (1, "")
    assert "factory" in again.stderr
    assert "1 golden pictures" in command("verify", new, *config).stdout
    missing = command("install", place.folder / "none.wtr", *config)
    assert missing.returncode == 1
    assert "none.wtr" in missing.stderr


def test_the_command_takes_no_unsigned_model_over_the_network(place):
    """Without keys a URL is not even fetched; a file is what a person brought."""
    refused = command("install", "http://127.0.0.1:1/new.wtr", "--config", place.path)
    assert refused.returncode == 1
    assert "model.trusted_keys is empty" in refused.stderr


def test_a_full_disk_refuses_the_update_and_harms_nothing(tmp_path):
    """On a disk too small for the bundle, the record and the models stay as they were."""
    if os.geteuid() != 0:
        pytest.skip("NO ROOT: a small disk cannot be made")
    disk = tmp_path / "models"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], check=False
    )
    if made.returncode:
        pytest.skip("NO MOUNT: a small disk cannot be made")
    try:
        place = Place(tmp_path)
        place.install(place.bundle("2"))
        place.confirm()
        before = place.store.read()
        (disk / "ballast").write_bytes(bytes(os.statvfs(disk).f_bavail * 4096 - 4096))
        with pytest.raises(StoreError, match="No space left"):
            place.install(place.bundle("3"))
        assert place.store.read() == before
        assert not list(place.store.incoming.iterdir())
        (disk / "rest").write_bytes(bytes(os.statvfs(disk).f_bavail * 4096))
        assert place.open() == "2"
        (disk / "ballast").unlink()
        place.install(place.bundle("3"))
        assert place.open() == "3"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_locks_that_root_made_lock_the_devices_user_not_out(tmp_path, monkeypatch):
    """`wheatear model install` is run as root; the device must install later all the same."""
    if os.geteuid() != 0:
        pytest.skip("NO ROOT: nobody else to be")
    monkeypatch.chdir(tmp_path)  # folders above may be closed to others
    store = Store(Path())
    with store.installing():
        store.change(lambda record: record)
    for folder in (".", "bundles", "incoming"):
        os.chown(folder, NOBODY, -1)
    os.seteuid(NOBODY)
    try:
        with store.installing():
            store.change(lambda record: msgspec.structs.replace(record, update="1"))
        assert store.read().update == "1"
    finally:
        os.seteuid(0)


def test_entries_keep_what_a_list_shows():
    """The record is JSON that can be read by people."""
    entry = ModelEntry(name="a", version="1", sha256="0", bytes=1, labels=("x",))
    text = msgspec.json.encode(Record(models={"a-1-0": entry}, current="a-1-0"))
    assert msgspec.json.decode(text)["models"]["a-1-0"]["version"] == "1"
