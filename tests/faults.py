"""Errors at the calls of a running device: all in the classes that work on its threads.

Each call's callee is handed through :data:`fault_points.POINTS`, where it may be made to fail. As
a program: ``faults.py FOLDER find`` lists the points that replays reach; ``faults.py FOLDER try N
OF`` makes each N-th of them fail and tells what came of it, one line of JSON each.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from fault_points import POINTS, Finder, Point

ERRORS = (
    lambda: RuntimeError("injected"),
    lambda: MemoryError("injected"),
    lambda: OSError(errno.EMFILE, "injected"),
    lambda: OSError(errno.ENOSPC, "injected"),
    lambda: UnicodeEncodeError("utf-8", "injected", 0, 1, "injected"),
    lambda: RecursionError("injected"),
)
PHOTOS = 3
LOSSES = ("cannot be classified", "picture: ImageError", "sightings cannot be written")
"""Words by which a picture that is lost is told of, each time."""
_LIMIT_SECONDS = 20


class Kept(logging.Handler):
    """Puts what is logged into a list."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Put it there."""
        self._lines.append(self.format(record))


class Field:
    """A broker with a subscriber, photos and a model; and a device anew for each replay."""

    def __init__(self, folder: Path) -> None:
        import brokers
        import devices

        self._folder, self._count = folder, 0
        devices.photos(folder / "photos", PHOTOS, (64, 48))
        devices.bundle(folder / "model.wtr")
        self.broker = brokers.Mosquitto(folder)
        self.broker.__enter__()
        self._subscriber = brokers.Subscriber(self.broker.port)
        self._subscriber.__enter__()
        self.log: list[str] = []
        logging.getLogger().addHandler(Kept(self.log))
        logging.getLogger().setLevel(logging.DEBUG)
        shorten()

    def close(self) -> None:
        """End the broker."""
        self._subscriber.__exit__(None, None, None)
        self.broker.__exit__(None, None, None)

    def device(self) -> tuple[str, Path]:
        """Write the configuration of a device of its own with all that has a thread."""
        import devices

        self._count += 1
        name, folder = f"cam-{self._count}", self._folder / str(self._count)
        folder.mkdir()
        for one in ("photos", "model.wtr"):
            (folder / one).symlink_to(self._folder / one)
        path = devices.config(
            folder,
            self.broker.port,
            extra=f'prometheus_file = "{folder}/w.prom"\nprometheus_seconds = 1.0\n'
            "health_seconds = 1.0\n"
            "[outbox]\ncommit_seconds = 0.001\n"
            '[inbox]\nkeep = true\n[requests]\nallow = ["status"]\n'
            "[gps]\nenabled = true\nport = 1\n",
        )
        text = path.read_text().replace("cam-1", name)
        text = text.replace("retry_max_seconds = 0.2", "retry_max_seconds = 0.05")
        path.write_text(text.replace('runtime = "fake"', 'runtime = "fake"\nstore = "models"'))
        return name, path

    def replay(
        self,
        day: str,
        point: Point | None = None,
        error: Callable[[], BaseException] | None = None,
        always: bool = False,
    ) -> dict[str, Any]:
        """Run a device once through its photos; tell what came of it."""
        from edge.device import app
        from edge.device.config_changes import ChangedConfiguration
        from edge.device.log_tail import LogTail
        from edge.device.remote import Control, Remote
        from edge.outbox.outbox import Outbox
        from edge.system.handover import Handover

        name, path = self.device()
        self.log.clear()
        configuration, control = ChangedConfiguration(path), Control()
        remote, kept = Remote(configuration, control, LogTail()), Handover(lambda: False)
        late = threading.Timer(_LIMIT_SECONDS, control.end)
        late.daemon = True
        late.start()
        ended = hard_ends(control.end)
        POINTS.begin(point, error, always, day)
        started = time.monotonic()
        try:
            done = app.run(configuration.load(), control.stop, 1.0, remote, kept)
            outcome = "all is well" if done else "something is left"
        except Exception as raised:
            outcome = f"{type(raised).__name__}: {raised}"
        if ended:
            outcome = f"the program ends with status {ended[0]}"
        in_time = time.monotonic() - started < _LIMIT_SECONDS
        late.cancel()
        kept.close()
        fired, reached = POINTS.fired, set(POINTS.reached)
        POINTS.begin(None, None, False)
        waiting = 0
        if outcome == "something is left":
            with Outbox(path.with_name("outbox.db")) as outbox:
                waiting = outbox.depth().waiting
        said = "\n".join(self.log)
        lost = sum(said.count(one) for one in LOSSES)
        return {
            "outcome": outcome,
            "in time": in_time,
            "fired": fired,
            "named": "injected" in said,
            "lost by name": lost + ("the camera failed unexpectedly" in said),
            "waiting": waiting,
            "arrived": self._arrived(name, PHOTOS if outcome == "all is well" else 0),
            "reached": reached,
            "no such call": POINTS.mistaken,
            "seconds": round(time.monotonic() - started, 2),
            "log": said,
        }

    def _arrived(self, name: str, most: int) -> int:
        def count(*_: object) -> int:
            return len(set(self._subscriber.on(f"/{name}/sighting")))

        self._subscriber.wait(lambda _: count() >= most, 0.3)
        return count()


def hard_ends(stop: Callable[[], object]) -> list[int]:
    """Have a thread that would end the program at once end itself and the replay (`stop`); returns
    where the statuses are put.
    """
    ended: list[int] = []

    def end(status: int) -> NoReturn:
        """Instead of the program's end."""
        ended.append(status)
        stop()
        raise SystemExit(status)

    os._exit = end  # of a process that ends with the replays
    return ended


def shorten() -> None:
    """Have a device wait less long, and be asked for something; all else is as it is."""
    import pytest

    from edge.cameras.reader import Reader
    from edge.mqtt.packets import Incoming
    from edge.mqtt.requests import RequestServer
    from edge.outbox.writer import Writer
    from edge.system import systemd as notify
    from edge.system.counters import Backoff

    patch = pytest.MonkeyPatch()  # of a process that ends with it
    patch.setattr(notify, "_TICK_SECONDS", 0.02)
    for owner in (Writer, Reader):

        def made(self: Any, *arguments: Any, real: Any = owner.__init__, **named: Any) -> None:
            real(self, *arguments, **named)
            self._backoff = Backoff(0.005, 0.01)

        patch.setattr(owner, "__init__", made)

    def start(self: Any, real: Any = RequestServer.start) -> None:
        real(self)
        for payload in (b'{"transaction": "1"}', b'{"transaction": "1"}', b'{"transaction": 2}'):
            self.offer(Incoming(f"{self._base}/request/status", payload))
        self.offer(Incoming(f"{self._base}/request/none", b"{"))

    patch.setattr(RequestServer, "start", start)


def find(folder: Path) -> None:
    """Write down what the replays reach, and on which day first."""
    field = Field(folder)
    found: dict[Point, str] = {}
    for day in ("good", "good", "bad", "bad"):
        done = field.replay(day)
        tell({key: done[key] for key in ("outcome", "arrived", "no such call", "seconds")})
        for point in sorted(done["reached"]):
            found.setdefault(point, day)
    (folder / "points.json").write_text(json.dumps([[*one, day] for one, day in found.items()]))
    field.close()


def attempt(folder: Path, number: int, of: int, whole: bool) -> None:
    """Make each `of`-th point fail, by errors of all kinds in turn; `whole`: once and always."""
    points = json.loads((folder / "points.json").read_text())
    with tempfile.TemporaryDirectory(dir=folder) as own:
        field = Field(Path(own))
        for at in range(number, len(points), of):
            place, thread, day = points[at]
            turn = bool(at // len(ERRORS) % 2)
            for always in (False, True) if whole else (turn,):
                error = ERRORS[(at + 3 * (always is not turn)) % len(ERRORS)]
                done = field.replay(day, (place, thread), error, always)
                quiet = POINTS.quiet[place] and isinstance(error(), OSError)
                told = {"place": place, "thread": thread, "day": day, "always": always}
                told |= {"error": repr(error()), "wrong": wrong(done, quiet)} | done
                del told["reached"]
                if not told["wrong"]:
                    del told["log"]
                tell(told)
        field.close()


def tell(what: dict[str, Any]) -> None:
    """Report one thing to whoever started this."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def wrong(done: dict[str, Any], quiet: bool) -> str | None:
    """What is wrong with how a replay with a fault ended; None: nothing is."""
    if not done["in time"]:
        return "it hangs"
    if not done["fired"] or done["outcome"] not in ("all is well", "something is left"):
        return None
    if not (done["named"] or quiet):
        return "silent"
    if done["arrived"] + done["waiting"] + done["lost by name"] < PHOTOS:
        return "lost without a word"
    return None


if __name__ == "__main__":
    sys.meta_path.insert(0, Finder())
    where = Path(sys.argv[1])
    if sys.argv[2] == "find":
        find(where)
    else:
        attempt(where, int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:] == ["all"])
