"""What systemd is told, and when its watchdog goes hungry."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import devices
import pytest
from brokers import free_port
from clocks import Field
from models_here import FRAME
from patience import PATIENCE
from results import APHID

from edge.cameras import Frame
from edge.config import load_config
from edge.device.health.stalls import Deadline, FrameFlow
from edge.system.counters import Counters
from edge.system.systemd import Longer, Systemd, notify, watchdog_seconds

MORE = "EXTEND_TIMEOUT_USEC=30000000"
UNIT = Path(__file__).parents[1] / "firmware-config" / "wheatear.service"


HANGING = """
import sys, time
from pathlib import Path
from edge.cameras import folder
from edge.commands.cli import main

read, hangs = folder.read_whole, Path(sys.argv[1])

def wait(*asked):
    while hangs.exists():
        time.sleep(0.05)
    return read(*asked)

folder.read_whole = wait
sys.exit(main(["run", "--config", sys.argv[2]]))
"""
"""The program on a disk that does not answer while there is a file; no real one waits on demand."""


class ManagerSocket:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str, monkeypatch=None):
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(address)
        self._sock.settimeout(PATIENCE)
        self.address = address.replace("\0", "@")
        if monkeypatch:
            monkeypatch.setenv("NOTIFY_SOCKET", self.address)

    def hear(self) -> list[str]:
        """Wait for a message; give its lines."""
        return self._sock.recv(4096).decode().splitlines()

    def hear_until(self, condition) -> list[list[str]]:
        """Collect messages until one is what is waited for."""
        heard, deadline = [self.hear()], time.monotonic() + PATIENCE
        while not condition(heard[-1]):
            assert time.monotonic() < deadline, heard[-5:]
            heard.append(self.hear())
        return heard

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._sock.close()


@pytest.mark.parametrize("abstract", [False, True])
def test_lines_go_to_the_socket_that_systemd_names(tmp_path, monkeypatch, abstract):
    """A path, or a name in the abstract namespace; nobody there is no error."""
    address = f"\0wheatear-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with ManagerSocket(address, monkeypatch) as systemd:
        assert notify("READY=1\nSTATUS=über")
        assert systemd.hear() == ["READY=1", "STATUS=über"]
    assert not notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert not notify("READY=1")


def test_the_watchdog_is_ours_or_off(monkeypatch):
    """Microseconds become seconds; another process's watchdog and nonsense are none."""
    for microseconds, pid, expected in (
        ("60000000", None, 60.0),
        ("60000000", os.getpid(), 60.0),
        ("60000000", 1, None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ):
        for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", pid)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, str(value))
        assert watchdog_seconds() == expected


def test_a_thread_that_ended_starves_the_watchdog_and_is_told(tmp_path, monkeypatch):
    """Also where the program itself hangs at its end: systemd then starts it anew."""
    counters = Counters()
    with ManagerSocket(str(tmp_path / "notify"), monkeypatch) as systemd:
        notifier = Systemd(lambda: None, lambda: "well", counters)
        notifier.tick()
        assert systemd.hear() == ["WATCHDOG=1", "STATUS=well"]
        counters.crew.worker("scout", lambda: None, lambda: False).run()
        notifier.tick()
        (told,) = systemd.hear()
    assert told == "STATUS=the scout thread: it returned before it was told to"
    assert any(one.startswith("frames: the scout thread") for one in counters.problems())


def test_a_pulse_is_missed_after_its_limit_and_what_is_expected():
    """A beat ends the waiting; a planned rest is added to the limit."""
    clock = Field()
    pulse = Deadline(clock, 10)
    clock.seconds += 10
    assert pulse.missed_seconds is None
    clock.seconds += 0.5
    assert pulse.missed_seconds == 10.5
    pulse.beat()
    assert pulse.missed_seconds is None
    pulse.expect(3600)
    clock.seconds += 3609
    assert pulse.missed_seconds is None
    clock.seconds += 2
    assert pulse.missed_seconds == 11


class Frames:
    """A camera's thread whose frames come when the test says so."""

    capture_seconds = 0.0
    ended = False

    def __init__(self):
        self.ready: list[Frame] = []

    def next(self, _seconds):
        """Return a frame if there is one."""
        return self.ready.pop() if self.ready else None


class Watched:
    """The watch over a camera with a frame every 2 s, and what it watches."""

    def __init__(self, config: Path) -> None:
        self.frames, self.counters, self.clock = Frames(), Counters(), Field()
        self.flow = FrameFlow(load_config(config), self.frames, self.counters, self.clock)

    def live(
        self, seconds: int, taken: bool = True, looks: bool = True, classified: bool = True
    ) -> str | None:
        """Let seconds pass; return what stalled."""
        for _ in range(seconds):
            self.clock.seconds += 1
            if taken:
                self.counters.add("frames_captured")
                self.frames.ready.append(replace(FRAME, time=self.clock.now()))
            frame = self.flow.next(0.5) if looks else None
            if frame is not None and classified:
                self.flow.watch(frame, APHID, None)
            if stalled := self.flow.stalled():
                return stalled
        return None


@pytest.fixture
def flow(tmp_path):
    """The watch over a camera with a frame every 2 s."""
    more = {"camera": "frames_per_second = 0.5", "extra": "stall_seconds = 60"}
    return Watched(devices.config(tmp_path, 1, **more))


def test_frames_that_flow_are_no_stall_and_a_camera_that_hangs_is(flow):
    """Its interval and the limit later, and until the next frame."""
    assert flow.live(1000) is None
    assert flow.live(62, taken=False) is None
    assert flow.live(1, taken=False) == "no frame was taken for 63 s"
    assert flow.live(1) is None


def test_an_agent_that_hangs_or_fails_with_every_frame_is_a_stall(flow):
    """One that waits for frames is not, nor is a bad picture now and then."""
    assert flow.live(500, classified=False) == "no frame was classified for 61 s"
    assert flow.live(5) is None
    assert flow.live(500, looks=False) == "no frame was classified for 61 s"
    assert flow.live(5) is None
    for _ in range(50):
        assert flow.live(5, classified=False) is None
        assert flow.live(1) is None


def test_a_rest_an_end_and_a_refusing_disk_are_no_stall(flow):
    """The camera sleeps by plan; the replay is over; a restart would lose what waits for a disk."""
    flow.counters.note("asleep", "until 05:00")
    assert flow.live(5000, taken=False) is None
    flow.counters.note("asleep", None)
    flow.counters.failing("outbox", "disk full")
    assert flow.live(5000, looks=False) is None
    flow.counters.failing("outbox", None)
    flow.frames.ended = True
    assert flow.live(5000, taken=False, looks=False) is None


def test_more_time_is_asked_for_until_it_is_over_or_too_long(tmp_path, monkeypatch):
    """At once, then again and again; where nobody listens there is no thread for it."""
    monkeypatch.setattr("edge.system.systemd._TICK_SECONDS", 0.01)
    with ManagerSocket(str(tmp_path / "s"), monkeypatch) as systemd:
        with Longer(60) as longer:
            longer.begin()
            longer.begin()
            asking = [one for one in threading.enumerate() if one.name == "more time"]
            assert len(asking) == 1
            assert [systemd.hear() for _ in range(3)] == [["WATCHDOG=1", MORE]] * 3
        assert not asking[0].is_alive()
        with Longer(0) as longer:
            longer.begin()
            for one in threading.enumerate():
                if one.name == "more time":
                    one.join(10)
    with Longer(60) as longer:
        longer.begin()
        assert "more time" not in {one.name for one in threading.enumerate()}


def test_a_stall_is_told_counted_and_taken_back(tmp_path, monkeypatch, caplog):
    """Status and problems say it; the watchdog is fed before and after only."""
    answers = [None, "no frame was taken for 130 s", "no frame was taken for 135 s", None]
    counters = Counters()
    with ManagerSocket(str(tmp_path / "s"), monkeypatch) as systemd:
        notifier = Systemd(lambda: answers.pop(0), lambda: "fine", counters)
        heard = []
        for expected in ((), ("frames: no frame was taken for 130 s",), None, ()):
            notifier.tick()
            heard.append(systemd.hear())
            assert expected is None or counters.problems() == expected
    assert heard[0] == heard[3] == ["WATCHDOG=1", "STATUS=fine"]
    assert heard[1:3] == [[f"STATUS=no frame was taken for {n} s"] for n in (130, 135)]
    assert counters["stalls"] == 1
    assert sum(record.levelname == "ERROR" for record in caplog.records) == 1


def test_a_real_process_whose_camera_hangs_starves_the_watchdog(tmp_path):
    """READY, fed while frames flow, hungry when the camera hangs, STOPPING, and nothing lost."""
    devices.photos(tmp_path / "photos", 2)
    hangs = tmp_path / "hangs"
    path = devices.config(
        tmp_path,
        free_port(),
        extra="stall_seconds = 2",
        camera="loop = true\nframes_per_second = 20",
    )
    with ManagerSocket(str(tmp_path / "notify")) as systemd:
        process = subprocess.Popen(
            [sys.executable, "-c", HANGING, str(hangs), str(path)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "600000"},
        )
        try:
            ready = systemd.hear_until(lambda lines: "READY=1" in lines)
            assert all(MORE in lines for lines in ready[:-1]), "it only asks for time to be ready"
            assert len(ready) > 1
            systemd.hear_until(lambda lines: "WATCHDOG=1" in lines)
            hangs.touch()
            told = systemd.hear_until(lambda lines: "WATCHDOG=1" not in lines)[-1]
            assert told[0].startswith("STATUS=no frame was taken for")
            assert all("WATCHDOG=1" not in systemd.hear() for _ in range(3))
            process.terminate()
            systemd.hear_until(lambda lines: "STOPPING=1" in lines)
            systemd.hear_until(lambda lines: MORE in lines)
        finally:
            hangs.unlink(missing_ok=True)
            process.terminate()
            said = process.communicate(timeout=20)[1]
    assert "watchdog gets no more signs of life" in said
    assert process.returncode == 0, said


@pytest.mark.skipif(not UNIT.exists(), reason="the unit does not travel with the wheel")
def test_the_unit_asks_for_what_the_program_tells(tmp_path):
    """Type, watchdog and who may speak stand in the unit; systemd itself finds no fault with it."""
    text = UNIT.read_text()
    for line in ("Type=notify", "NotifyAccess=main", "WatchdogSec=60", "WatchdogSignal=SIGTERM"):
        assert f"\n{line}\n" in text
    if shutil.which("systemd-analyze") is None:
        pytest.skip("SYSTEMD-ANALYZE ABSENT: the unit is not verified")
    unit = tmp_path / "wheatear.service"
    unit.write_text(text.replace("/opt/wheatear/bin/wheatear", "/bin/true"))
    command = ["systemd-analyze", "verify", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (
        0,
        [],
    )


def test_the_unit_is_confined_but_keeps_what_the_interpreter_needs():
    """Exposure 1.8 at most by systemd's own measure; /proc and /sys stay whole; memory is bound;
    its documentation is a file that the wheel brings.
    """
    text = UNIT.read_text()
    assert "\nMemoryMax=" in text
    for taken in ("\nProcSubset=", "\nInaccessiblePaths=", "\nPrivateDevices="):
        assert taken not in text
    (page,) = re.findall(r"^Documentation=file:///opt/wheatear/(.*)$", text, re.MULTILINE)
    project = UNIT.parents[1] / "pyproject.toml"
    shared = tomllib.loads(project.read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert page in shared["shared-data"].values()
    if shutil.which("systemd-analyze") is None:
        pytest.skip("SYSTEMD-ANALYZE ABSENT: the unit's exposure is not measured")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=18", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
