"""Folders whose contents are gone with the computer's next start are named as such."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import devices
import pytest
from brokers import Mosquitto, Subscriber
from computers import computer

from edge.system.volatile_storage import storage


@contextmanager
def mounted(folder: Path, kind: str, options: str) -> Iterator[Path]:
    """Mount something on a folder; the test is skipped loudly where nobody may."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", kind, "-o", options, "test", folder], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"NO MOUNT: {kind} cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def overlay(disk: Path, changes: Path) -> Iterator[Path]:
    """Mount an overlay that keeps its changes in `changes`, as read-only systems do."""
    for folder in (disk / "lower", changes / "upper", changes / "work"):
        folder.mkdir()
    parts = f"lowerdir={disk}/lower,upperdir={changes}/upper,workdir={changes}/work"
    with mounted(disk / "over", "overlay", parts) as folder:
        yield folder


@pytest.fixture
def memory(tmp_path):
    """A tmpfs whose name takes some quoting."""
    with mounted(tmp_path / "in, memory", "tmpfs", "size=8m") as folder:
        yield folder


def test_a_folder_in_memory_is_named_also_before_it_is_there(memory):
    """A folder that will be made in a tmpfs is in memory too."""
    for folder in (memory, memory / "to" / "be" / "made"):
        assert (told := storage(folder).fleeting) is not None
        assert str(folder) in told
        assert f"tmpfs on {memory}" in told


def test_an_overlay_is_in_memory_where_its_changes_are(tmp_path, memory):
    """So a system whose card is read-only keeps what programs write; also through two of them."""
    (tmp_path / "disk").mkdir()
    with overlay(tmp_path, tmp_path / "disk") as lasting:
        assert storage(lasting).fleeting is None
    (tmp_path / "two").mkdir()
    (tmp_path / "plain").mkdir()
    os.symlink(memory, tmp_path / "plain" / "m")  # an overlay's options take no comma in a name
    with overlay(tmp_path / "two", tmp_path / "plain" / "m") as first:
        assert "keeps its changes in memory" in (storage(first / "wheatear").fleeting or "")


def test_a_folder_bound_elsewhere_goes_by_what_it_is(tmp_path, memory):
    """A folder of the disk, bound into one in memory, lasts."""
    (tmp_path / "disk").mkdir()
    (memory / "state").mkdir()
    subprocess.run(["mount", "--bind", tmp_path / "disk", memory / "state"], check=True)
    try:
        assert storage(memory / "state").fleeting is None
    finally:
        subprocess.run(["umount", memory / "state"], check=True)


def test_a_compressed_disk_of_memory_is_memory(tmp_path):
    """As log2ram and the like make it: an ext4 on zram."""
    root = computer(tmp_path, "ext4", "/dev/zram0")
    (root / "sys/dev/block").mkdir(parents=True)
    assert storage(tmp_path, root).fleeting is None
    os.symlink("../../devices/virtual/block/zram0", root / "sys/dev/block/9:8")
    assert "in memory (zram0 on /)" in (storage(tmp_path, root).fleeting or "")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ext4", "rw"),
        ("overlay", "rw,upperdir=/host/only"),
        ("overlay", "ro,lowerdir=/a"),
        ("", ""),
    ],
)
def test_what_is_not_known_to_be_memory_is_not_called_so(tmp_path, kind, options):
    """A container's overlay names a folder of the host, which is not there inside."""
    assert storage(tmp_path, computer(tmp_path, kind, options=options)).fleeting is None


def test_a_kernel_that_does_not_tell_is_no_error(tmp_path):
    """Without /proc nothing is known."""
    assert storage(tmp_path, tmp_path / "empty").fleeting is None


def test_a_device_whose_outbox_is_in_memory_says_so(tmp_path, memory):
    """In its log, in `state`, and by `wheatear check`; it runs and delivers all the same."""
    devices.photos(tmp_path / "photos", 2)
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        path = devices.config(tmp_path, broker.port, f'[outbox]\npath = "{memory}/outbox.db"\n')
        device = devices.start("run", "--config", str(path))
        log = device.communicate(timeout=30)[1]
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) == 2)
        health = json.loads(subscriber.on("/state")[-1])["health"]
    assert device.returncode == 0
    assert f"WARNING edge.device.app: outbox.path: {memory} lies in memory" in log
    assert not health["ok"]
    assert any(problem.startswith("outbox.path: ") for problem in health["problems"])
    check = devices.start("check", "--config", str(path))
    check.communicate(timeout=30)
    assert check.returncode == 1
