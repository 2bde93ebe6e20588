"""A picture on request, whatever triggers and rests say."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import devices
import numpy as np
import pytest
import samples
from clocks import Simulated
from patience import wait_for
from results import APHID
from schedules import schedule
from scripts import into

from edge.cameras import Frame
from edge.cameras.reader import Reader
from edge.cameras.triggers.duty import Duty
from edge.cameras.triggers.gate import Gate
from edge.cameras.triggers.wake import Sleep
from edge.config import Decision, Images, Requests
from edge.device.agent import Agent
from edge.device.capture import Capture
from edge.errors import CameraError, ImageError
from edge.messages.sighting import ModelRef
from edge.messages.verbs import CaptureParams
from edge.sightings.builder import SightingBuilder
from edge.sightings.decision import Decider
from edge.sightings.identity import Identity
from edge.system.counters import Counters


class Script:
    """A live camera that never ends, or fails."""

    live, interval_seconds = True, 3600.0

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.count = error, 0

    def capture(self) -> Frame | None:
        """Take a picture."""
        if self.error:
            raise self.error
        self.count += 1
        return Frame(np.zeros((8, 8, 3), np.uint8), datetime.now(UTC), str(self.count), 8, 8, bytes)

    def close(self) -> None:
        """Let go."""


class Model:
    """Sees an aphid in everything."""

    def look(self, _pixels, _size):
        """Return an aphid."""
        return APHID


@pytest.fixture
def at_work():
    """A function that runs an agent over a camera under a gate; all end with the test."""
    ended = []

    def run(camera, gate=None, triggers=(), plan=None):
        counters, clock, stop = Counters(), Simulated("2026-06-21T12:00"), threading.Event()
        gate = Gate(triggers, Duty(clock, plan), Sleep(None, clock, counters))
        frames = Reader(lambda: camera, counters, camera, gate=gate)
        identity = Identity("cam-1", "boot", ModelRef(name="m", version="1", sha256="0" * 64), None)
        allowed = Requests(pictures=True, details=True)
        capture = Capture(frames.ask, identity, Decision(), Images(), clock, allowed)
        seen: list[Any] = []
        agent = Agent(
            frames,
            Model(),
            Decider(Decision(mode="always")),
            SightingBuilder(identity, Images(), counters, clock),
            into(seen),
            lambda _: samples.health(),
            1e9,
            counters,
            clock,
            stop,
            watchers=[capture.watch],
        )
        thread = threading.Thread(target=agent.run)
        frames.start()
        thread.start()
        ended.append((stop, frames, thread))
        return capture, counters, seen

    yield run
    for stop, frames, thread in ended:
        stop.set()
        frames.close()
        thread.join()


class Never:
    """A trigger that admits nothing."""

    def admits(self, _frame: Frame) -> bool:
        """Refuse."""
        return False


def test_a_picture_on_request_passes_triggers_intervals_and_rests(at_work):
    """It wakes a camera that sleeps for hours, and comes back with what the model says."""
    for triggers, plan in (((Never(),), None), ((), schedule("06:00-07:00"))):
        capture, counters, seen = at_work(Script(), triggers=triggers, plan=plan)
        for _ in range(2):
            got = capture.now(CaptureParams(), 10)
            assert (got.findings[0].label, got.findings[0].confidence) == ("aphid", 0.9)
            assert got.sighting
            assert got.frame.source == str(counters["frames_captured"])
        assert len(seen) == 2


def test_frames_that_a_trigger_rejects_are_counted_and_not_classified(at_work):
    """The model never sees them."""
    camera = Script()
    camera.interval_seconds = 0.001
    _, counters, seen = at_work(camera, triggers=(Never(),))
    wait_for(lambda: counters["frames_idle"] >= 10)
    assert counters["frames_classified"] == 0
    assert seen == []


@pytest.mark.parametrize("error", [CameraError("unplugged"), ImageError("half a picture")])
def test_a_request_that_finds_no_camera_or_a_bad_frame_says_so(at_work, error):
    """The error is the camera's own, and comes at once."""
    capture, counters, _ = at_work(Script(error))
    wait_for(counters.errors)
    with pytest.raises(type(error), match=str(error)):
        capture.now(CaptureParams(), 10)


def test_a_request_after_the_end_of_a_replay_is_refused(tmp_path):
    """There is nothing to photograph any more."""
    from edge.cameras.folder import Folder
    from edge.config import FolderCamera
    from edge.model.image.preprocessing import InputSpec

    devices.photos(tmp_path, 1)
    camera = Folder(FolderCamera(path=tmp_path), InputSpec(width=32, height=32))
    reader = Reader(lambda: camera, Counters(), camera)
    reader.start()
    while not reader.ended:
        reader.next(0.05)
    with pytest.raises(CameraError, match="its replay is over"):
        reader.ask().wait(1)
