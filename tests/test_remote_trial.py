"""The program as seen from afar, without a device: what is answered, and how a trial ends."""

from __future__ import annotations

import json
import queue
import threading
import time
from typing import Any

import devices
import pytest
from clocks import Hand
from patience import PATIENCE
from remotes import ALLOW, BASE, changed, started
from there import there

from edge.config import Requests as Settings
from edge.device.config_changes import NAME, ChangedConfiguration
from edge.device.log_tail import LogTail
from edge.device.remote import Control, Remote
from edge.mqtt.packets import Incoming
from edge.mqtt.requests import RequestServer
from edge.mqtt.transactions import Memory
from edge.system.counters import Counters

OPEN = Settings(allow=("config/get", "config/set", "log", "restart"), unnumbered=True)


class Seen(Counters):
    """Counters that tell when a trial looks at them."""

    def __init__(self) -> None:
        self.looks: queue.Queue[int] = queue.Queue()
        super().__init__()

    def __getitem__(self, name: str) -> int:
        if name == "frames_classified":
            self.looks.put(1)
        return super().__getitem__(name)

    def passes(self) -> None:
        """Wait until a look has begun and ended: each asks twice at most."""
        while not self.looks.empty():
            self.looks.get()
        for _ in range(5):
            self.looks.get(timeout=5)


class Afar:
    """What is asked from afar."""

    def __init__(self, configuration: ChangedConfiguration, settings: Settings = OPEN) -> None:
        self.configuration, self.control = configuration, Control()
        self.counters, self.clock = Seen(), Hand()
        self.remote = Remote(configuration, self.control, LogTail())
        self.requests = RequestServer(settings, BASE, self.counters, self.clock, lambda: None)
        self.remote.serve(self.requests, 60.0)
        self.shots: list[float] = []
        self.asked = 0
        self.told = threading.Event()

    def ask(self, verb: str, **params: object) -> dict[str, Any]:
        """Return the answer."""
        self.asked += 1
        payload = json.dumps({"transaction": f"t{self.asked}", **params}).encode()
        self.requests.carry_out(Incoming(f"{BASE}/request/{verb}", payload))
        return json.loads(self.requests.answers()[0].payload)

    def trial(self):
        """Begin a trial; pictures that are asked for are noted."""
        look = lambda: self.shots.append(self.clock.seconds)  # noqa: E731
        return self.remote.trial(self.counters, self.clock, look, self.told.set)


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A configuration that may be changed from afar; a trial looks all the time."""
    monkeypatch.setattr("edge.device.remote._LOOK_SECONDS", 0.001)
    return devices.config(tmp_path, 1883, ALLOW.format(seconds=60))


def running(name: str) -> bool:
    """Whether a thread of this name runs."""
    return any(thread.name == name for thread in threading.enumerate())


def timers() -> list[threading.Timer]:
    """The timers that wait."""
    return [one for one in threading.enumerate() if isinstance(one, threading.Timer)]


def test_a_wish_ends_the_device_and_says_what_comes_then():
    """Each run begins without one."""
    control = Control()
    assert (control.wish, control.stop.is_set()) == ("end", False)
    control.again("reload")
    assert (control.wish, control.stop.is_set()) == ("reload", True)
    control.begin()
    assert (control.wish, control.stop.is_set()) == ("end", False)
    control.again("restart")
    assert (control.wish, control.stop.is_set()) == ("restart", True)


def test_a_signal_wins_over_wishes():
    """Those before it, and those after."""
    control = Control()
    control.end()
    assert (control.wish, control.stop.is_set()) == ("end", True)
    control = Control()
    control.again("reload")
    control.end()
    assert (control.wish, control.stop.is_set()) == ("end", True)
    control.again("restart")
    control.begin()
    assert (control.wish, control.stop.is_set()) == ("end", True)


def test_what_was_asked_before_is_kept_beside_the_outbox(file, tmp_path):
    """The same over all runs of the device inside the program."""
    afar = Afar(started(file))
    memory = afar.remote.memory(tmp_path / "outbox.db")
    assert isinstance(memory, Memory)
    assert afar.remote.memory(tmp_path / "other" / "outbox.db") is memory
    assert not afar.remote.stays()


def test_a_configuration_is_given_with_its_state(file):
    """What was changed, how, and whether it is on trial."""
    configuration = started(file)
    afar = Afar(configuration)
    answer = afar.ask("config/get")["data"]
    state = {"trying": False, "changed": [], "replaced": False}
    state |= {"taken_back": None, "taken_back_at": None, "revision": configuration.revision()}
    assert answer["state"] == state
    assert answer["revision"] == configuration.revision()
    assert answer["config"] == json.loads(json.dumps(configuration.plain()))
    configuration = changed(file, decision__agreeing_frames=1)
    found = Afar(configuration).ask("config/get")["data"]["state"]
    assert (found["trying"], found["changed"], found["replaced"]) == (
        True,
        ["decision.agreeing_frames"],
        False,
    )
    now = Hand().now()
    configuration.take_back("a test", now)
    told = Afar(configuration).remote.state()
    assert (told.taken_back, told.taken_back_at, told.trying) == ("a test", now, False)
    configuration = started(file)
    assert configuration.change(configuration.revision(), None, file.read_text() + "\n")
    assert Afar(configuration).remote.state().replaced


def test_a_change_begins_a_trial(file):
    """The device is built anew; one that changes nothing is told so."""
    configuration = started(file)
    afar = Afar(configuration)
    revision = configuration.revision()
    for wrong in ({}, {"changes": {"decision.agreeing_frames": 1}, "toml": "x"}):
        refused = afar.ask("config/set", revision=revision, **wrong)
        assert refused["error"]["message"] == 'give one of "changes" and "toml"'
    assert afar.ask("config/set", revision=revision, toml="")["data"] == {
        "state": "unchanged",
        "confirm_seconds": 60.0,
    }
    assert not afar.remote.stays()
    answer = afar.ask("config/set", revision=revision, changes={"decision.agreeing_frames": 1})
    assert answer["data"] == {"state": "trying", "confirm_seconds": 60.0}
    assert (afar.control.wish, afar.remote.stays()) == ("reload", True)


def test_a_restart_and_the_log_can_be_asked_for(file):
    """A restart is a new process."""
    afar = Afar(started(file))
    assert afar.ask("log")["status"] == "ok"
    assert afar.control.wish == "end"
    assert afar.ask("restart")["data"] == {}
    assert (afar.control.wish, afar.control.stop.is_set()) == ("restart", True)


def test_a_trial_that_shows_nothing_is_taken_back_when_its_time_is_over(file):
    """A picture is asked for every five seconds until there was one; what is lacking is said."""
    configuration = changed(file, decision__agreeing_frames=1)
    afar = Afar(configuration)
    afar.counters.failing("camera", "unplugged")
    with afar.trial():
        assert running("trial")
        afar.counters.passes()
        assert afar.shots == [0.0]
        afar.clock.seconds = 4.9
        afar.counters.passes()
        assert afar.shots == [0.0]
        afar.clock.seconds = 5.0
        afar.counters.passes()
        assert afar.shots == [0.0, 5.0]
        afar.counters.add("frames_classified")
        afar.counters.passes()
        afar.clock.seconds = 60.0
        shots = len(afar.shots)
        afar.counters.passes()
        assert configuration.trying
        assert len(afar.shots) == shots
        afar.clock.seconds = 60.5
        assert afar.control.stop.wait(PATIENCE)
    record = configuration.record
    assert record.taken_back == (
        "within 60 s the broker acknowledged nothing and the broker granted no subscription "
        "(camera: unplugged)"
    )
    assert record.taken_back_at == afar.clock.now()
    assert (configuration.trying, afar.control.wish) == (False, "reload")
    assert not afar.told.is_set()
    assert not running("trial")


def test_a_trial_has_its_seconds_from_its_beginning(file):
    """However long the device runs already."""
    configuration = changed(file, decision__agreeing_frames=1)
    afar = Afar(configuration)
    afar.clock.seconds = 1000.0
    with afar.trial():
        afar.clock.forward(60.0)
        afar.counters.passes()
        assert configuration.trying
    assert configuration.trying
    assert afar.control.wish == "end"


@pytest.mark.parametrize("settings", [OPEN, Settings(allow=())])
def test_a_trial_ends_when_all_was_shown(file, settings):
    """A subscription only where anything may be asked."""
    configuration = changed(file, decision__agreeing_frames=1)
    afar = Afar(configuration, settings)
    with afar.trial():
        for name in ("frames_classified", "introduced"):
            afar.counters.passes()
            assert configuration.trying
            afar.counters.add(name)
        if settings is OPEN:
            afar.counters.passes()
            assert configuration.trying
            afar.counters.add("subscribed")
        assert afar.told.wait(PATIENCE)
    assert not configuration.trying
    assert there(started(file).config).decision.agreeing_frames == 1
    assert afar.control.wish == "end"
    assert afar.counters.crew.ended is None


def test_a_device_that_ends_waits_for_its_trial(file):
    """What it looks at is not taken away under it."""
    afar = Afar(changed(file, decision__agreeing_frames=1))
    entered, leave, left = threading.Event(), threading.Event(), []

    def look():
        entered.set()
        leave.wait(PATIENCE)
        time.sleep(0.05)  # whoever did not wait for it would be gone meanwhile
        left.append(1)

    with afar.remote.trial(afar.counters, afar.clock, look, afar.told.set):
        assert entered.wait(PATIENCE)
        leave.set()
    assert left


def test_a_trial_that_cannot_be_written_down_as_won_is_taken_back(file):
    """It is tried until its time is over."""
    configuration = changed(file, decision__agreeing_frames=1)
    afar = Afar(configuration)
    for name in ("frames_classified", "introduced", "subscribed"):
        afar.counters.add(name)
    (file.parent / f"{NAME}.new").mkdir()
    with afar.trial():
        afar.counters.passes()
        assert configuration.trying
        afar.clock.seconds = 61.0
        assert afar.control.stop.wait(PATIENCE)
    assert there(configuration.record.taken_back).startswith("within 60 s cannot write ")
    assert afar.shots == []


def test_what_is_no_trial_is_not_watched(file):
    """Neither while the device opens nor while it runs."""
    afar = Afar(started(file))
    with afar.remote.opening(0.0, afar.told.set):
        assert not timers()
    with afar.trial():
        assert not running("trial")
    assert not afar.told.is_set()


def test_a_device_on_trial_that_does_not_open_is_given_up(file):
    """After its seconds."""
    afar = Afar(changed(file, decision__agreeing_frames=1))
    with afar.remote.opening(0.01, afar.told.set):
        assert all(timer.daemon for timer in timers())
        assert afar.told.wait(PATIENCE)


@pytest.mark.parametrize("opens", [True, False])
def test_a_device_that_opened_or_failed_to_is_not_given_up(file, opens):
    """Its time to open ends with it."""
    afar = Afar(changed(file, decision__agreeing_frames=1))
    with afar.remote.opening(3600.0, afar.told.set):
        (timer,) = timers()
        if opens:
            with afar.trial():
                timer.join(5)
                assert not timer.is_alive()
    timer.join(5)
    assert not timer.is_alive()
    assert not afar.told.is_set()
