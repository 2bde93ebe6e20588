"""An error at every call that a thread of the device makes: nothing is lost silently.

The table of calls is read from the source of the classes that own a thread, so it has no gaps:
every call of something that a class was given, in each of its methods. Each is made to fail once,
and always, on that thread; then either all pictures become sightings and the fault is named, or
the program ends with an error.
"""

from __future__ import annotations

import ast
import inspect
import logging
import re
import textwrap
import threading
import time
from pathlib import Path

import devices
import pytest
from brokers import Mosquitto, Subscriber

import edge
from edge import app
from edge.agent import Agent
from edge.cameras.reader import Reader
from edge.changes import Configuration
from edge.counters import Backoff, Episode
from edge.delivery import Delivery
from edge.exchange import Exchange
from edge.gps import Gps
from edge.inbox import Inbox
from edge.journal import Journal
from edge.kept import Kept
from edge.models.service import Models
from edge.notify import Notifier
from edge.prometheus import Exporter
from edge.publisher import Publisher
from edge.remote import Control, Remote
from edge.requests import Requests
from edge.retime import Retimer
from edge.session import Session
from edge.spare import Spare
from edge.writer import Writer

OWNERS: dict[str, tuple[type, ...]] = {
    "MainThread": (Agent,),
    "writer": (Writer,),
    "publisher": (Publisher, Session, Delivery, Exchange, Spare),
    "camera": (Reader,),
    "requests": (Requests,),
    "inbox": (Inbox,),
    "prometheus": (Exporter,),
    "clock": (Retimer,),
    "notify": (Notifier,),
    "models": (Models,),
    "gps": (Gps,),
}
"""By the thread, the classes whose calls run on it."""
ELSEWHERE = {
    "trial": "edge/remote.py: a configuration on trial; tested in test_remote_config",
    "later": "edge/later.py: its error is raised in result()",
    "load pictures": "edge/pictures.py: its error is handed to whoever takes the picture",
    "names": "edge/models/web.py: a name is looked up; its error is the fetch's",
    "Timer": "edge/remote.py: restarts a program that hangs while it opens",
}
Point = tuple[str, type, str]
OURS = ("_counters", "_patience")
"""With these the device tells of faults; what tells of them cannot fail and be told of."""
PHOTOS = 3


def calls(owner: type) -> list[str]:
    """Give ``attribute`` and ``attribute.method`` of all that a class calls of what it holds."""
    found = set()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(owner)))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            holder, name = node.func.value, node.func.attr
            if isinstance(holder, ast.Name) and holder.id == "self" and not hasattr(owner, name):
                found.add(name)
            if (
                isinstance(holder, ast.Attribute)
                and isinstance(holder.value, ast.Name)
                and holder.value.id == "self"
                and holder.attr not in OURS
            ):
                found.add(f"{holder.attr}.{name}")
    return sorted(found)


TABLE = [
    (thread, owner, call)
    for thread, owners in OWNERS.items()
    for owner in owners
    for call in calls(owner)
]


class Shell:
    """Stands for something, but for one method."""

    def __init__(self, held: object, method: str, failing: object) -> None:
        self._held, self._method, self._failing = held, method, failing

    def __getattr__(self, name: str) -> object:
        return self._failing if name == self._method else getattr(self._held, name)


class Fault:
    """Fails at one call, on one thread, once or always; without an error it only counts."""

    def __init__(
        self, point: Point, always: bool = False, error: type[Exception] | None = None
    ) -> None:
        self.thread, self.owner, self.call = point
        self.always, self.error = always, error
        self.fired = 0
        self._in: list[object] = []

    def into(self, owner: object) -> None:
        """Have a call that `owner` will make fail."""
        if any(one is owner for one in self._in):
            return
        attribute, _, method = self.call.partition(".")
        try:
            held = getattr(owner, attribute, None)
        except AssertionError:  # it is attached later
            return
        if method:
            foreign = not type(held).__module__.startswith("edge.") or isinstance(held, Episode)
            if held is None or foreign:
                return
            failing = self._failing(getattr(held, method))
            try:
                setattr(held, method, failing)
            except AttributeError:  # it takes none
                setattr(owner, attribute, Shell(held, method, failing))
        elif callable(held):
            setattr(owner, attribute, self._failing(held))
        else:
            return
        self._in.append(owner)

    def _failing(self, real):
        def call(*arguments, **named):
            here = threading.current_thread().name == self.thread
            if here and (self.always or not self.fired):
                self.fired += 1
                if self.error is not None:
                    raise self.error("injected")
            return real(*arguments, **named)

        return call


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A broker with a subscriber, photos, and a bundle."""
    folder = tmp_path_factory.mktemp("field")
    devices.photos(folder / "photos", PHOTOS)
    devices.bundle(folder / "model.wtr")
    with Mosquitto(folder) as broker, Subscriber(broker.port) as subscriber:
        yield folder, broker, subscriber


def device(field, tmp_path) -> Path:
    """Write the configuration of a device of its own with all that has a thread."""
    folder, broker, _ = field
    for name in ("photos", "model.wtr"):
        (tmp_path / name).symlink_to(folder / name)
    path = devices.config(
        tmp_path,
        broker.port,
        extra=f'prometheus_file = "{tmp_path}/w.prom"\nprometheus_seconds = 1.0\n'
        "health_seconds = 1.0\n"
        '[inbox]\nkeep = true\n[requests]\nallow = ["status"]\n'
        "[gps]\nenabled = true\nport = 1\n",
    )
    text = path.read_text().replace("cam-1", f"cam-{abs(hash(tmp_path))}")
    text = text.replace("retry_max_seconds = 0.2", "retry_max_seconds = 0.05")
    path.write_text(text.replace('runtime = "fake"', 'runtime = "fake"\nstore = "models"'))
    return path


def replay(path: Path, faults: list[Fault], monkeypatch) -> tuple[str, bool]:
    """Run the device once through its photos; give how it ended, and whether in time."""
    for owner in {owner for owners in OWNERS.values() for owner in owners}:

        def made(self, *arguments, real=owner.__init__, owner=owner, **named):
            real(self, *arguments, **named)
            if isinstance(self, Writer | Reader):
                self._backoff = Backoff(0.01, 0.02)
            if isinstance(self, Retimer):
                self._tick_seconds = 0.05
            for fault in faults:
                if fault.owner is owner:
                    fault.into(self)

        monkeypatch.setattr(owner, "__init__", made)
        if hasattr(owner, "_run"):

            def run(self, real=owner._run, owner=owner):
                for fault in faults:  # into what was attached since
                    if fault.owner is owner:
                        fault.into(self)
                real(self)

            monkeypatch.setattr(owner, "_run", run)
    monkeypatch.setattr("edge.notify._TICK_SECONDS", 0.05)
    configuration, control = Configuration(path), Control()
    remote, kept = Remote(configuration, control, Journal()), Kept(lambda: False)
    late = threading.Timer(20, control.end)
    late.start()
    started = time.monotonic()
    try:
        done = app.run(configuration.load(), control.stop, None, remote, kept)
        outcome = "all is well" if done else "something is left"
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    finally:
        late.cancel()
        kept.close()
    return outcome, time.monotonic() - started < 20


@pytest.fixture(scope="module")
def reached(field, tmp_path_factory):
    """The calls of the table that a replay makes."""
    faults = [Fault(point) for point in TABLE]
    with pytest.MonkeyPatch.context() as monkeypatch:
        path = device(field, tmp_path_factory.mktemp("reached"))
        assert replay(path, faults, monkeypatch) == ("all is well", True)
    return {(one.thread, one.owner, one.call) for one in faults if one.fired}


def test_every_thread_of_the_device_is_in_the_table():
    """A new thread is added here, or nobody knows what becomes of its errors."""
    named = set()
    for file in Path(edge.__file__).parent.rglob("*.py"):
        text = file.read_text()
        named |= set(re.findall(r'crew\.worker\(\s*"([^"]+)"', text))
        named |= set(re.findall(r'Thread\([^)]*name="([^"]+)"', text))
        if re.search(r"threading\.Timer\(", text):
            named.add("Timer")
        started, known = r"\bThread\((?!\))", r'\bThread\([^)]*name="'
        assert len(re.findall(started, text)) == len(re.findall(known, text)), file
    assert named | {"MainThread"} == set(OWNERS) | set(ELSEWHERE)


def test_most_threads_are_reached(reached):
    """The table would prove nothing if a replay made few of its calls."""
    assert {point[0] for point in reached} == set(OWNERS)
    assert len(reached) >= 60


def test_without_a_fault_all_arrives(field, tmp_path, monkeypatch):
    """The device of the other tests, as it should be."""
    path = device(field, tmp_path)
    assert replay(path, [], monkeypatch) == ("all is well", True)
    assert wait_for_sightings(field[2], path) == PHOTOS


def wait_for_sightings(subscriber, path, most=PHOTOS) -> int:
    """Give how many sightings of a device arrive."""
    device = re.search(r'id = "(.*)"', path.read_text())[1]

    def count(*_):
        return len({payload for payload in subscriber.on(f"/{device}/sighting")})

    subscriber.wait(lambda _: count() >= most, 0.5)
    return count()


@pytest.mark.parametrize("always", [False, True], ids=["once", "always"])
@pytest.mark.parametrize("point", TABLE, ids=lambda point: f"{point[1].__name__}-{point[2]}")
def test_a_fault_at_any_call_is_never_silent(
    field, reached, tmp_path, monkeypatch, caplog, point, always
):
    """All pictures arrive and the fault is named, or the program says that it failed."""
    if point not in reached:  # a call of a day that goes otherwise
        return
    caplog.set_level(logging.DEBUG)
    fault = Fault(point, always, RuntimeError)
    path = device(field, tmp_path)
    outcome, in_time = replay(path, [fault], monkeypatch)
    assert in_time, f"it hangs: {outcome}"
    if outcome == "all is well":
        assert "injected" in caplog.text, "silent"
        arrived = wait_for_sightings(field[2], path)
        lost = "could not be judged" in caplog.text or "(1 bad" in caplog.text
        assert arrived == PHOTOS or (lost and arrived == PHOTOS - 1), "lost without a word"
