"""The thread that reads a camera: what it leaves out, counts, opens anew and waits for."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import devices
import numpy as np
from patience import wait_for

from edge.cameras import Camera, Frame
from edge.cameras.folder import Folder
from edge.cameras.reader import Reader
from edge.config import FolderCamera
from edge.errors import CameraError, ImageError
from edge.model.image.preprocessing import InputSpec
from edge.system.counters import Counters


class Scripted:
    """A camera that does what a list says: frames, errors, the end."""

    interval_seconds = 0.0

    def __init__(self, script, live=False):
        self.script, self.live, self.closed = script, live, 0

    def capture(self):
        """Do the next thing."""
        if not self.script:
            return None
        what = self.script.pop(0)
        if isinstance(what, Exception):
            raise what
        pixels = np.zeros((8, 8, 3), np.uint8)
        return Frame(pixels, datetime.now(UTC), str(what), 8, 8, bytes)

    def close(self):
        """Count."""
        self.closed += 1


def read_all(reader: Reader) -> list[str]:
    """Read to the end."""
    found = []
    while not reader.ended:
        if (frame := reader.next(0.05)) is not None:
            found.append(frame.source)
    return found


def never() -> Camera:
    """Open the camera again: none of these goes away."""
    raise AssertionError("the camera was opened again")


def test_a_replay_leaves_no_frame_out_however_slow_the_reader():
    """Lossless cameras wait for the agent."""
    counters = Counters()
    reader = Reader(never, counters, Scripted(list(range(50))))
    reader.start()
    wait_for(lambda: counters["frames_captured"])
    assert read_all(reader) == [str(i) for i in range(50)]
    assert counters["frames_skipped"] == 0
    reader.close()


def test_a_live_camera_gives_the_newest_frame_only():
    """What came while the agent was busy is replaced, and counted."""
    counters = Counters()
    reader = Reader(never, counters, Scripted(list(range(50)), live=True))
    reader.start()
    wait_for(lambda: counters["frames_captured"] == 50)
    assert read_all(reader) == ["49"]
    assert counters["frames_skipped"] == 49
    reader.close()


def test_bad_frames_are_counted_and_logged_once(caplog):
    """A damaged picture does not stop the replay; an episode is one line in the log."""
    bad = [ImageError("no picture: x.jpg") for _ in range(5)]
    counters = Counters()
    reader = Reader(never, counters, Scripted([1, *bad, 2]))
    reader.start()
    assert read_all(reader) == ["1", "2"]
    assert counters["frames_bad"] == 5
    assert counters.errors() == {"ImageError": 5}
    assert sum("no picture: x.jpg" in r.message for r in caplog.records) == 1


def test_a_vanished_camera_is_opened_again(caplog):
    """It is closed, tried again with growing waits, and goes on; logged once."""
    first = Scripted([1, CameraError("gone")])
    attempts = iter([CameraError("still gone"), CameraError("still gone"), Scripted([2])])

    def reopen():
        got = next(attempts)
        if isinstance(got, Exception):
            raise got
        return got

    counters = Counters()
    reader = Reader(reopen, counters, first, retry_min_seconds=0.01, retry_max_seconds=0.02)
    reader.start()
    assert read_all(reader) == ["1", "2"]
    assert first.closed == 1
    assert counters.errors() == {"CameraError": 3}
    assert [r.levelname for r in caplog.records if r.name == "edge.cameras.reader"] == ["WARNING"]


def test_closing_a_reader_ends_a_waiting_camera_thread():
    """A full queue or a pause does not hold up the end."""
    camera, counters = Scripted(list(range(100))), Counters()
    reader = Reader(never, counters, camera)
    reader.start()
    wait_for(lambda: counters["frames_captured"])
    reader.close()
    reader.close()
    assert camera.closed == 1


def test_a_reader_that_never_started_lets_its_camera_go():
    """Where a device cannot be put together, or the computer starts no thread for it."""
    camera = Scripted([1])
    reader = Reader(never, Counters(), camera)
    reader.close()
    reader.close()
    assert camera.closed == 1


class Hanging(Scripted):
    """A camera whose driver does not answer until it is released."""

    def __init__(self):
        super().__init__([1])
        self.asked, self.released = threading.Event(), threading.Event()

    def capture(self):
        """Hang."""
        self.asked.set()
        self.released.wait()


def test_a_camera_that_hangs_is_waited_for_once(monkeypatch):
    """The program closes its reader twice; the second time it leaves the camera behind at once."""
    monkeypatch.setattr("edge.cameras.reader._STOP_SECONDS", 0.05)
    camera = Hanging()
    reader = Reader(never, Counters(), camera)
    reader.start()
    assert camera.asked.wait(10)
    reader.close()
    assert not reader.ended
    monkeypatch.setattr("edge.cameras.reader._STOP_SECONDS", 60.0)
    releasing = threading.Timer(10.0, camera.released.set)  # so that waiting has an end
    releasing.start()
    reader.close()
    assert not camera.released.is_set()
    releasing.cancel()
    camera.released.set()
    assert read_all(reader) == []
    assert camera.closed == 1


def replay(path: Path, frames_per_second: float) -> Folder:
    """Open a replay camera."""
    settings = FolderCamera(path=path, frames_per_second=frames_per_second)
    return Folder(settings, InputSpec(width=32, height=32))


def test_a_rate_spaces_frames(tmp_path):
    """Ten frames at 50 a second take 0.18 s or more; a long interval does not hold up the end."""
    # Time itself is tried: never less than the rate asks for, and far less than the interval.
    devices.photos(tmp_path, 10)
    reader = Reader(never, Counters(), replay(tmp_path, 50))
    started = time.monotonic()
    reader.start()
    assert len(read_all(reader)) == 10
    assert time.monotonic() - started > 0.17
    counters = Counters()
    slow = Reader(never, counters, replay(tmp_path, 0.001))
    slow.start()
    wait_for(lambda: counters["frames_captured"])
    started = time.monotonic()
    slow.close()
    assert time.monotonic() - started < 60.0
