"""Hardware cameras against simulated hardware: a V4L2 driver, and picamera2's interface."""

from __future__ import annotations

import errno
import mmap
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import devices
import numpy as np
import pytest
from patience import PATIENCE, wait_for
from there import there

from edge.cameras import open_camera, v4l2
from edge.cameras import v4l2_abi as abi
from edge.cameras.reader import Reader
from edge.config import Picamera2Camera, V4l2Camera, View
from edge.errors import CameraError, ImageError
from edge.model.image.preprocessing import InputSpec, load
from edge.system.counters import Counters

SPEC = InputSpec(width=32, height=32)
PAGE = mmap.PAGESIZE * 16


class Driver:
    """What a kernel driver does with the ioctls of a camera, on a file in memory."""

    def __init__(self, formats=(abi.PIX_FMT_MJPEG, abi.PIX_FMT_YUYV), capture=True):
        self.formats, self.capture = formats, capture
        self.fd = os.memfd_create("camera")
        self.free, self.filled = [], []
        self.streaming = self.unplugged = False

    def open(self, _path, _flags):
        """Return a file descriptor, as opening the node does."""
        return os.dup(self.fd)

    def shoot(self, data: bytes, age: float = 0.0, flags: int = 0) -> None:
        """Fill the next free buffer with a frame."""
        index = self.free.pop(0)
        os.pwrite(self.fd, data, index * PAGE)
        self.filled.append((index, len(data), time.monotonic() - age, flags))

    def select(self, _read, _write, _error, timeout):
        """Be readable when a buffer is filled."""
        if not self.filled and not self.unplugged:
            time.sleep(min(timeout, 0.02))
        return ([self.fd] if self.filled or self.unplugged else []), [], []

    def ioctl(self, _fd, request, argument):
        """Answer a request."""
        if self.unplugged:
            raise OSError(errno.ENODEV, "No such device")
        getattr(self, abi.REQUEST_NAMES[request].lower())(argument)

    def vidioc_querycap(self, a):
        """Answer what this is."""
        a.card = b"Simulated"
        a.device_caps = (abi.CAP_VIDEO_CAPTURE if self.capture else 2) | abi.CAP_STREAMING

    def vidioc_s_fmt(self, a):
        """Choose the nearest format."""
        if a.pix.pixelformat not in self.formats:
            a.pix.pixelformat = self.formats[0]
        a.pix.width, a.pix.height = 160, 120
        a.pix.bytesperline = 320 if a.pix.pixelformat == abi.PIX_FMT_YUYV else 0

    def vidioc_reqbufs(self, a):
        """Make room for frames."""
        os.ftruncate(self.fd, a.count * PAGE)

    def vidioc_querybuf(self, a):
        """Answer where a buffer lies."""
        a.length, a.m.offset = PAGE, a.index * PAGE

    def vidioc_qbuf(self, a):
        """Take a buffer to fill."""
        self.free.append(a.index)

    def vidioc_dqbuf(self, a):
        """Hand out the oldest filled buffer."""
        a.index, a.bytesused, taken, flags = self.filled.pop(0)
        a.timestamp.tv_sec, a.timestamp.tv_usec = int(taken), int(taken % 1 * 1e6)
        a.flags = flags | abi.BUF_FLAG_TIMESTAMP_MONOTONIC

    def vidioc_streamon(self, _):
        """Begin."""
        self.streaming = True

    def vidioc_streamoff(self, _):
        """End."""
        self.streaming = False


@pytest.fixture
def plug(monkeypatch):
    """A function that plugs a simulated camera in."""

    def into(driver: Driver) -> Driver:
        # The camera's calls go to the driver; everybody else keeps the real ones.
        monkeypatch.setattr(v4l2, "os", SimpleNamespace(**(vars(os) | {"open": driver.open})))
        monkeypatch.setattr(v4l2, "fcntl", SimpleNamespace(ioctl=driver.ioctl))
        monkeypatch.setattr(v4l2, "select", SimpleNamespace(select=driver.select))
        return driver

    return into


def camera(**settings):
    """Open the simulated camera."""
    return open_camera(V4l2Camera(interval_seconds=0, timeout_seconds=0.2, **settings), SPEC)


def test_an_mjpeg_frame_is_decoded_as_a_photo_is(plug):
    """The newest frame wins; the camera's own JPEG is the evidence; its time is the driver's."""
    driver = plug(Driver())
    opened = camera()
    assert driver.streaming
    old, new = devices.photo("leaf"), devices.photo("beetle", seed=1)
    driver.shoot(old, age=0.3)
    started = datetime.now(UTC)
    driver.shoot(new, age=0.1)
    frame = opened.capture()
    spent = datetime.now(UTC) - started
    assert np.array_equal(frame.pixels, load(new, SPEC))
    assert frame.jpeg() == new
    assert (frame.width, frame.height, frame.source) == (160, 120, "/dev/video0")
    assert abs(frame.time - (started - timedelta(seconds=0.1))) <= spent
    assert sorted(driver.free) == [0, 1, 2]
    opened.close()
    opened.close()
    assert not driver.streaming
    os.close(driver.fd)


def test_a_frame_that_waited_is_not_taken_for_now(plug):
    """After a long interval the buffered frame is given back, and a fresh one awaited."""
    driver = plug(Driver())
    opened = camera()
    driver.shoot(devices.photo("leaf"), age=5)
    with pytest.raises(CameraError, match=r"gave no frame for 0\.2 s; unplug it"):
        opened.capture()
    opened.close()
    os.close(driver.fd)


def test_yuyv_is_the_second_choice(plug):
    """A camera without MJPEG gives YUYV; a short frame is a bad picture, not a dead camera."""
    driver = plug(Driver(formats=(abi.PIX_FMT_YUYV,)))
    opened = camera()
    driver.shoot(bytes([235, 128, 235, 128]) * (160 * 120 // 2))
    frame = opened.capture()
    assert frame.pixels.shape == (120, 160, 3)
    assert frame.pixels.min() == 255
    assert frame.jpeg()[:2] == b"\xff\xd8"
    driver.shoot(b"short")
    with pytest.raises(ImageError, match="too short"):
        opened.capture()
    opened.close()
    os.close(driver.fd)


def test_other_nodes_and_formats_are_refused_with_a_cure(plug):
    """A metadata node, and a camera that has only formats unknown here."""
    driver = plug(Driver(capture=False))
    with pytest.raises(CameraError, match=r"\(Simulated\) is not a camera .*try the other"):
        camera()
    os.close(driver.fd)
    driver = plug(Driver(formats=(abi.fourcc("H264"),)))
    with pytest.raises(CameraError, match="offers none of MJPG, YUYV"):
        camera()
    os.close(driver.fd)


def test_a_camera_pulled_out_and_plugged_in_again_goes_on(plug):
    """The reader closes it, tries again, and delivers frames of the new one."""
    driver = plug(Driver())
    counters = Counters()
    reader = Reader(camera, counters, camera(), 0.01, 0.02)
    driver.shoot(devices.photo("leaf"))
    reader.start()
    assert reader.next(PATIENCE) is not None
    driver.unplugged = True
    wait_for(lambda: counters.errors().get("CameraError", 0) >= 2)
    assert "camera" in counters.problems()[0]
    driver.free.clear()
    driver.filled.clear()
    driver.unplugged = False
    wait_for(lambda: driver.streaming and len(driver.free) >= 3)
    driver.shoot(devices.photo("aphid"))
    assert reader.next(PATIENCE) is not None
    assert counters.problems() == ()
    reader.close()
    os.close(driver.fd)


class Enum(SimpleNamespace):
    """Named values."""


class PicameraDouble:
    """The calls of picamera2 that are used, with their names and shapes as on a Raspberry Pi."""

    made: list[Any] = []  # noqa: RUF012

    def __init__(self, index):
        if index > 0:
            raise IndexError("list index out of range")
        self.camera_controls = {"AfMode": (0, 2, 0)}
        self.started = self.closed = self.mute = False
        self.made.append(self)

    def create_video_configuration(self, **config):
        """Keep what is asked for."""
        assert set(config) == {
            "main", "lores", "transform", "colour_space", "buffer_count", "controls", "display",
            "encode", "queue",
        }  # fmt: skip
        return config

    def configure(self, config):
        """Apply it."""
        self.config = config

    def camera_configuration(self):
        """Return what was applied."""
        return self.config

    def start(self):
        """Start."""
        self.started = True

    def capture_request(self, wait, signal_function):
        """Complete at once, unless mute."""
        assert wait is False
        job = SimpleNamespace(get_result=lambda: self)
        if not self.mute:
            signal_function(job)
        return job

    def make_array(self, name):
        """Return planes with padded rows, or red, green and blue."""
        width, height = self.config[name]["size"]
        if name == "main":
            return np.full((height, width, 3), (200, 30, 40), np.uint8)
        planes = np.full((height * 3 // 2, -(-width // 64) * 64), 128, np.uint8)
        planes[:height] = 90
        return planes

    def get_metadata(self):
        """Return when the frame was taken."""
        return {"SensorTimestamp": time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 250_000_000}

    def release(self):
        """Take the buffers back."""

    def close(self):
        """Close."""
        self.closed = True


@pytest.fixture
def pi(monkeypatch):
    """A Raspberry Pi with one camera."""
    PicameraDouble.made = []
    modes = Enum(Manual=0, Continuous=2)
    libcamera = SimpleNamespace(
        controls=SimpleNamespace(AfModeEnum=modes),
        Transform=lambda hflip, vflip: ("transform", hflip, vflip),
        ColorSpace=SimpleNamespace(Sycc=lambda: "sycc"),
    )
    monkeypatch.setitem(sys.modules, "libcamera", libcamera)
    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=PicameraDouble))
    return PicameraDouble


def pi_camera(**settings):
    """Open it without waiting for exposure."""
    return open_camera(Picamera2Camera(warm_up_seconds=0, interval_seconds=0, **settings), SPEC)


def test_the_pi_gives_a_small_frame_and_keeps_the_large_one_as_evidence(pi):
    """Grey planes become grey pixels of the small stream's size; the JPEG is the main stream."""
    opened = pi_camera(rotation=180, focus_metres=0.5)
    started = datetime.now(UTC)
    frame = opened.capture()
    spent = datetime.now(UTC) - started
    assert frame.pixels.shape == (32, 58, 3)
    assert np.unique(frame.pixels).tolist() == [90]
    assert (frame.width, frame.height, frame.source) == (1920, 1080, "picamera2:0")
    assert abs(frame.time - (started - timedelta(seconds=0.25))) <= spent
    from edge.model.image.preprocessing import decode

    assert np.abs(decode(frame.jpeg()).astype(int) - (200, 30, 40)).max() <= 3
    config = pi.made[0].config
    assert config["transform"] == ("transform", 1, 1)
    assert config["controls"]["LensPosition"] == 2.0
    opened.close()
    opened.close()
    assert pi.made[0].closed


def test_the_pis_small_stream_grows_with_tiles_and_gives_way_to_the_large_one(pi):
    """4 x 3 tiles for a model of 32 need 171 x 96; tiles of 32 picture pixels need them all."""
    small = Picamera2Camera(warm_up_seconds=0, interval_seconds=0, width=640, height=360)
    opened = open_camera(small, SPEC, View(tiles=(4, 3), overlap=0.0))
    assert there(opened.capture()).pixels.shape == (98, 172, 3)
    opened.close()
    opened = open_camera(small, SPEC, View(tiles=32, overlap=0.0))
    frame = there(opened.capture())
    assert frame.pixels.shape == (360, 640, 3)
    assert frame.pixels[0, 0].tolist() == [200, 30, 40]
    assert pi.made[1].config["lores"] is None
    opened.close()


def test_a_pi_camera_that_falls_silent_has_vanished(pi, monkeypatch):
    """A loose ribbon cable is an error in time, and the next opening may succeed."""
    monkeypatch.setattr("edge.cameras.picamera2._TIMEOUT_SECONDS", 0.05)
    opened = pi_camera()
    pi.made[0].mute = True
    with pytest.raises(CameraError, match="check the ribbon cable"):
        opened.capture()
    opened.close()


@pytest.mark.usefixtures("pi")
def test_a_pi_camera_that_is_not_there_is_named():
    """The message says how to list what is connected."""
    with pytest.raises(CameraError, match=r"camera 3 cannot be opened: .*--list-cameras"):
        pi_camera(index=3)
