"""A replayed folder in which names become something else, and whose disk goes away."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import devices
import pytest
from brokers import free_port
from open_files import open_files
from patience import PATIENCE

from edge.cameras.folder import MOST_BYTES, Folder, modified
from edge.cameras.reader import Reader
from edge.config import FolderCamera
from edge.errors import CameraError, ImageError
from edge.model.image.preprocessing import InputSpec
from edge.system.counters import Counters

SPEC = InputSpec(width=32, height=32)


@contextmanager
def dead_mount(folder: Path) -> Iterator[None]:
    """Mount a file system on a folder whose program has ended: each call is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        pytest.skip("NO FUSE: /dev/fuse cannot be opened here")
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    refused = libc.mount(b"test", os.fsencode(folder), b"fuse", 0, options)
    os.close(device)
    if refused:
        pytest.skip("NO FUSE: it cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def as_pipe(file: Path) -> None:
    """Nobody will ever write into it."""
    os.mkfifo(file)


def as_folder(file: Path) -> None:
    """Called like a picture."""
    file.mkdir()


def as_too_large(file: Path) -> None:
    """One byte more than any picture has, none of them on the disk."""
    file.touch()
    os.truncate(file, MOST_BYTES + 1)


@pytest.mark.parametrize(
    ("become", "told"),
    [
        (as_pipe, "it is not a file"),
        (as_folder, "it is not a file"),
        (as_too_large, "more than 600,000,000 bytes; scale"),
        (Path.exists, "No such file"),
    ],
)
def test_what_takes_a_pictures_name_later_is_a_bad_picture(tmp_path, become, told):
    """It was a picture when the folder was listed; the next one is looked at."""
    devices.photos(tmp_path, 2)
    camera = Folder(FolderCamera(path=tmp_path), SPEC)
    first = min(tmp_path.iterdir())
    first.unlink()
    become(first)
    opened = open_files()
    with pytest.raises(ImageError, match=f"{first.name}: .*{told}"):
        camera.capture()
    assert open_files() <= opened
    assert camera.capture() is not None
    assert camera.capture() is None


def test_a_disk_whose_program_ended_is_a_camera_that_vanished(tmp_path):
    """As a share or a stick behind FUSE: no picture is at fault, and the replay begins again."""
    devices.photos(tmp_path / "photos", 3)
    config, counters = FolderCamera(path=tmp_path / "photos", loop=True), Counters()
    reader = Reader(lambda: Folder(config, SPEC), counters, retry_min_seconds=0.05)
    reader.start()
    assert reader.next(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    with dead_mount(tmp_path / "photos"):
        while len(tried := counters.errors()) == 0 or tried["CameraError"] < 3:
            assert time.monotonic() < deadline, tried
            reader.next(0.05)
        assert "not connected" in counters.problems()[0]
    while counters.problems():
        assert time.monotonic() < deadline
        reader.next(0.05)
    assert counters["frames_bad"] == 0
    assert set(counters.errors()) == {"CameraError"}
    reader.close()


@pytest.mark.parametrize("part", ["", "photos/*.jpg", "photos/a.jpg", "x" * 300])
def test_a_path_that_cannot_be_looked_at_is_named(tmp_path, part):
    """Whatever the kernel has against it."""
    trouble = nullcontext() if "x" in part else dead_mount(tmp_path)
    with trouble, pytest.raises(CameraError, match=r"^camera\.path: "):
        Folder(FolderCamera(path=tmp_path / part), SPEC)


def test_a_device_says_in_a_sentence_that_it_cannot_look_at_its_folder(tmp_path):
    """No traceback, which tells nobody what to do."""
    devices.photos(tmp_path / "photos", 1)
    config = devices.config(tmp_path, free_port())
    with dead_mount(tmp_path / "photos"):
        device = devices.start("run", "--config", str(config))
        said = device.communicate(timeout=30)[1]
    assert device.returncode == 1
    assert f"wheatear: camera.path: cannot look at {tmp_path}/photos: " in said
    assert "Traceback" not in said


def test_a_picture_that_went_since_it_was_listed_has_an_age_all_the_same(tmp_path):
    """It comes first among those by time, and is then told as one that cannot be read."""
    devices.photos(tmp_path, 1)
    (file,) = tmp_path.iterdir()
    os.utime(file, (2e9, 2e9))
    assert modified(file) == 2e9
    file.unlink()
    assert modified(file) == 0.0
