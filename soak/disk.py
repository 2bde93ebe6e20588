"""The disk full and read-only while the device goes on: it waits, delivers, and goes on writing.

The outbox lies on a file system in memory of 8 MB, which needs root to mount. Another program's
file takes the rest of it, first without a network, so that nothing can leave, then with one: what
waits must go out although nothing can be written that needs room.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from soak.broker import Application, Broker
from soak.device import Device
from soak.ledger import Ledger
from soak.proxy import Proxy
from soak.scenario import Options, Round, chance, until

SIZE = 8_000_000
_OUTBOX = '[outbox]\npath = "disk/outbox.db"\n'


def rounds(options: Options) -> int:
    """One full disk and one read-only one a round."""
    return options.disks if os.geteuid() == 0 else 0


def play(number: int, folder: Path, options: Options) -> Round:
    """Fill the disk, empty the outbox, free the disk; then start on a read-only one."""
    random, ledger = chance(options, "disk", number), Ledger()
    problems: list[str] = []
    with (
        small_disk(folder / "disk") as disk,
        Broker(folder) as broker,
        Application(broker.port, ledger) as application,
        Proxy(broker.port) as network,
    ):
        device = Device(folder, network.port, options.rate, more=_OUTBOX)
        device.outbox = disk / "outbox.db"
        with device.running():
            if not application.more():
                return Round(problems=(f"nothing came: {device.said()}",))
            network.refuse()
            time.sleep(random.uniform(0, 1))
            fill(disk / "ballast")
            if not until(lambda: "OutboxFullError" in device.log.read_text("utf-8", "replace")):
                problems.append("the full disk was not noticed")
            network.forward()
            written = device.given_out()
            if not application.wait(lambda now: now.next_seq > written):
                problems.append(f"not all came from the full disk: {device.said()}")
            (disk / "ballast").unlink()
            if not application.more():
                problems.append(f"nothing was delivered when it had room again: {device.said()}")
        problems += _read_only(device, disk)
        problems += device.settle(application)
    return Round(counts={"full disks": 1, **ledger.counts()}, problems=tuple(problems))


def _read_only(device: Device, disk: Path) -> list[str]:
    """Start where nothing can be written: a named error, and nothing else happens."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        process = device.start()
        process.wait(30)
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    if process.returncode == 1 and "writable" in device.said():
        return []
    return [f"on a read-only disk: status {process.returncode}, {device.said()}"]


@contextlib.contextmanager
def small_disk(folder: Path, size: int = SIZE) -> Iterator[Path]:
    """Mount a file system of so many bytes. Raises CalledProcessError where that is not allowed."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "soak", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(file: Path) -> None:
    """Write until the disk takes no more."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as ballast:
        for size in (65_536, 4_096):
            with contextlib.suppress(OSError):
                while ballast.write(bytes(size)) == size:
                    pass
