"""What a change of the configuration does not touch stays open while the device is built anew."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import devices
import pytest
from brokers import free_port
from msgspec.structs import replace

from edge.cameras import CAMERAS, Camera, Frame
from edge.cameras.reader import Reader
from edge.config import Requests, V4l2Camera, load_config
from edge.device import app
from edge.device.config_changes import ChangedConfiguration
from edge.device.log_tail import LogTail
from edge.device.remote import Control, Remote
from edge.errors import CameraError, ConfigError
from edge.system.counters import Counters
from edge.system.handover import Handover


class Door:
    """Something that is open until it is closed."""

    live = False

    def __init__(self) -> None:
        self.open = True

    def close(self) -> None:
        """Close it."""
        self.open = False


def test_what_has_the_same_key_is_used_again():
    """It is opened once for as many runs as there are."""
    kept = Handover(lambda: True)
    first = kept.take("model", 1, Door)
    kept.leave(first)
    assert kept.take("model", 1, Door) is first
    assert first.open


def test_what_has_another_key_is_closed_before_the_new_one_is_opened():
    """A camera can be opened only once at a time."""
    kept = Handover(lambda: True)
    first = kept.take("camera", 1, Door)
    kept.leave(first)

    def make() -> Door:
        assert not first.open
        return Door()

    assert kept.take("camera", 2, make).open


def test_nothing_is_held_where_no_run_follows():
    """At the end of the program everything is closed."""
    kept = Handover(lambda: False)
    door = kept.take("model", 1, Door)
    kept.leave(door)
    assert not door.open


def test_what_nobody_took_is_closed_at_the_end():
    """As where the next run fails before it comes to the camera."""
    kept = Handover(lambda: True)
    door = kept.take("camera", 1, Door)
    kept.leave(door)
    kept.close()
    assert not door.open


def test_what_was_opened_elsewhere_is_closed():
    """A model that came while the device ran has no key, so nothing tells whether it still fits."""
    door = Door()
    Handover(lambda: True).leave(door)
    assert not door.open


def test_an_opening_that_fails_can_be_tried_again():
    """The error is the one of whoever opens."""
    kept = Handover(lambda: True)

    def fail() -> Door:
        raise CameraError("unplugged")

    with pytest.raises(CameraError, match="unplugged"):
        kept.take("camera", 1, fail)
    assert kept.take("camera", 1, Door).open


class Webcam(Door):
    """A live camera that waits for its first frame for ever, until the reader stops."""

    live = True
    interval_seconds = 0.01

    def capture(self) -> Frame | None:
        """Return nothing more."""
        return None


def test_a_reader_parts_from_an_open_camera():
    """Whoever takes the camera over decides whether to close it."""
    camera, parted = Webcam(), list[Camera]()
    reader = Reader(Webcam, Counters(), camera, part=parted.append)
    reader.start()
    reader.close()
    assert parted == [camera]
    assert camera.open


@dataclass
class Cameras:
    """Opens cameras, and knows which are open; only one can be at a time."""

    opened: list[Door] = field(default_factory=list)

    def __call__(self, *_: object) -> Door:
        """Open one."""
        assert not any(door.open for door in self.opened)
        self.opened.append(Door())
        self.opened[-1].live = True
        return self.opened[-1]


def test_a_device_that_cannot_be_put_together_leaves_no_camera_open(tmp_path, monkeypatch):
    """Its process may go back to the settings before, and needs the camera then."""
    devices.photos(tmp_path / "photos", 1)
    devices.bundle(tmp_path / "model.wtr")
    file = devices.config(tmp_path, free_port())
    cameras, control = Cameras(), Control()
    monkeypatch.setattr("edge.cameras.v4l2.V4l2", cameras)
    assert CAMERAS["v4l2"] == "edge.cameras.v4l2:V4l2"
    config = replace(
        load_config(file),
        camera=V4l2Camera(),
        requests=Requests(allow=("status",), token_file=tmp_path / "token"),
    )
    remote, kept = Remote(ChangedConfiguration(file), control, LogTail()), Handover(lambda: False)
    for _ in range(2):
        with pytest.raises(ConfigError, match="token_file"):
            app.run(config, threading.Event(), 1.0, remote, kept)
    assert [door.open for door in cameras.opened] == [False, False]
