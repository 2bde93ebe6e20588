"""A disk that refuses for a while, and one that the kernel makes read-only under the device.

The outbox lies on an ext4 of its own, mounted with ``errors=remount-ro``. First the device may
write to no file (``RLIMIT_FSIZE``), and then may again. Then the file system is told of an error:
from there on the kernel refuses every write, to open files too, and nothing makes this mount
writable again. So the device is stopped, the file system checked and mounted anew, as by a reboot.
Needs root. (A file system cannot be remounted read-only by hand while a file is open for writing.)
"""

from __future__ import annotations

import contextlib
import json
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from soak.broker import Application, Broker
from soak.device import Device
from soak.ext4 import Ext4, possible
from soak.ledger import Ledger
from soak.proxy import Proxy
from soak.scenario import Options, Round, chance, until

_ANY = resource.RLIM_INFINITY
_REFUSALS = ("disk I/O error", "cannot write beside")
"""Of the database, or of the file that says which numbers are given."""
_HELD = 1000
"""Messages that the device keeps in memory, as docs/device/operate.md says."""
_MORE = """prometheus_file = "device.prom"
prometheus_seconds = 1
[outbox]
path = "disk/outbox.db"
"""


def rounds(options: Options) -> int:
    """One refusal and one error of the file system a round, where they can be made."""
    return options.readonly if possible() else 0


def play(number: int, folder: Path, options: Options) -> Round:
    """Refuse writes and allow them; break the file system, repair it, start on it again."""
    random, ledger = chance(options, "readonly", number), Ledger()
    with (
        Ext4(folder / "disk") as disk,
        Broker(folder) as broker,
        Application(broker.port, ledger) as application,
        Proxy(broker.port) as network,
    ):
        late = "historical_after_seconds = 1"
        device = Device(folder, network.port, options.rate, late, _MORE)
        device.outbox = disk.folder / "outbox.db"
        with device.running() as process:
            if not application.more():
                return Round(problems=(f"nothing came: {device.said()}",))
            problems = _refusal(process, application, random.uniform(0, 4.5 * options.patience))
            problems += _broken(disk, device, process, application, network, random)
            if process.poll() is not None:
                problems.append(f"it ended with status {process.returncode}: {device.said()}")
        left = _left_behind(device)
        if not 0 < left <= _HELD + 1:
            problems.append(f"{left} messages were left behind, {_HELD} are kept in memory")
        disk.repair()
        problems += device.settle(application)
    if "Traceback" in device.log.read_text("utf-8", "replace"):
        problems.append("an error was not foreseen")
    counts = {"refusals": 1, "read-only disks": 1, "left behind": left, **ledger.counts()}
    return Round(counts=counts, problems=tuple(problems))


def _refusal(
    process: subprocess.Popen[bytes], application: Application, seconds: float
) -> list[str]:
    """Let nothing be written for seconds: this is told, and all of these seconds comes later."""
    problems, late = [], application.ledger.late
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, _ANY))
    if not application.wait(lambda _: _told(application.states)):
        problems.append("state did not say that nothing can be written")
    time.sleep(1.5 + seconds)  # longer than after which a sighting says that it comes late
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (_ANY, _ANY))
    if not application.wait(lambda now: now.late > late, 60):
        problems.append("nothing came of what was seen meanwhile")
    if not application.wait(lambda _: _counted(application.healths)):
        problems.append("health did not count that nothing could be written")
    if not application.wait(lambda _: _health(application.states).get("ok") is True):
        problems.append("state did not say that all is well again")
    return problems


def _broken(
    disk: Ext4,
    device: Device,
    process: subprocess.Popen[bytes],
    application: Application,
    network: Proxy,
    random: Random,
) -> list[str]:
    """Make it read-only: what is on it comes, the rest is kept in memory as far as it may be."""
    problems = []
    if random.random() < 0.5:  # so that more of it waits, and none can be deleted
        network.refuse()
        time.sleep(random.uniform(0, 1))
    with _halted(process):
        disk.fail()
    network.forward()
    if not application.wait(lambda _: _told(application.states)):
        problems.append("state did not say that the disk is read-only")
    written = device.given_out()
    if not application.wait(lambda now: now.next_seq > written):
        problems.append(f"not all came from the read-only disk: {device.said()}")
    if not _classifies(device, written + _HELD - 100):  # some of it is health
        problems.append(f"it looked at no more pictures: {device.said()}")
    if device.given_out() != written:
        problems.append("numbers were given out that cannot be kept")
    return problems


@contextlib.contextmanager
def _halted(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Halt a process between two calls of the kernel: see docs/soak.md for a commit in between."""
    process.send_signal(signal.SIGSTOP)
    try:
        states = [""]
        while set(states) - {"T"}:
            stats = Path(f"/proc/{process.pid}/task").glob("*/stat")
            with contextlib.suppress(OSError):  # a thread that just ended
                states = [stat.read_text().rpartition(") ")[2][0] for stat in stats]
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def _last(payloads: list[bytes]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(payloads[-1]) if payloads else {}
    return found


def _health(states: list[bytes]) -> dict[str, Any]:
    found: dict[str, Any] = _last(states).get("health", {})
    return found


def _told(states: list[bytes]) -> bool:
    """Whether the state names the outbox, and what is wrong with it."""
    health = _health(states)
    return health.get("ok") is False and any(
        problem.startswith("outbox: ") and any(words in problem for words in _REFUSALS)
        for problem in health["problems"]
    )


def _counted(healths: list[bytes]) -> bool:
    return bool(_last(healths).get("errors", {}).get("OutboxError"))


def _classifies(device: Device, frames: int) -> bool:
    """Wait until the device says that it classified so many frames."""
    file = device.folder / "device.prom"

    def classified() -> bool:
        found = re.search(r'frames_total{.*"classified"} (\d+)', file.read_text("utf-8"))
        return found is not None and int(found[1]) >= frames

    return until(classified)


def _left_behind(device: Device) -> int:
    said = re.findall(r"(\d+) left behind", device.log.read_text("utf-8", "replace"))
    return int(said[-1]) if said else -1
