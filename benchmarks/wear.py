"""Wear of the card: bytes and flushes per sighting of the whole program, at 1/s and at 20/s.

`wheatear run` takes a picture from a folder at that rate and reports each, with the settings it is
shipped with, in real time: what is gathered over seconds, by the program or by the file system, is
gathered here too. Its folder lies on an ext4 of its own, with blocks of 1 KiB, of 4 KiB as cards
mostly have, and the latter with the mount option `commit=60`, whose writes and flushes are recorded
below the file system, so that journal and write-back are in it; beside it stands what the kernel
charges the process (`write_bytes` of /proc/PID/io). Needs root, FUSE and loop devices.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import Options, scratch
from benchmarks.result import Figure, single
from soak.broker import Broker, free_port
from soak.control import messages
from soak.device import Device
from soak.filesystems import impossible
from soak.recording import Recording, recorded
from soak.scenario import until

SOURCES = ("edge/**/*.py", "soak/device.py", "soak/record*.py", "soak/loopback.py")
MATERIAL = ()
MOST_BYTES = {1: 6_000, 20: 3_000}
"""Promised of the recorded bytes per sighting, by sightings per second."""
DISKS = {
    "ext4-1k": "1 KiB blocks",
    "ext4": "4 KiB blocks",
    "ext4-commit": "4 KiB blocks, commit=60",
}


class Wear(NamedTuple):
    """What was written in the seconds that count."""

    sightings: int
    recorded_bytes: int
    writes: int
    flushes: int
    charged_bytes: int
    payload: float
    """Bytes of a sighting's JSON, on average of those that wait; 0 where none does."""


def run(data: Path, options: Options) -> tuple[Figure, ...]:  # noqa: ARG001
    """Measure those of a rate at once, each on a disk of its own in memory."""
    if reason := impossible():
        note = f"not measured: {reason}"
        return (single("written per sighting", "B", ("to the disk", ()), note=note),)
    warm, seconds = (2.0, 3.0) if options.tiny else (40.0, 180.0)
    memory = Path("/dev/shm")
    figures = []
    with scratch(memory if memory.is_dir() else options.out, "wear-") as folder:
        for rate in MOST_BYTES:
            disks = [disk for disk in DISKS if rate == 1 or disk != "ext4-commit"]
            cases = [(disk, rate, connected) for disk in disks for connected in (False, True)]
            with ThreadPoolExecutor(len(cases)) as threads:
                futures = [
                    threads.submit(measure, folder / f"{rate}-{number}", *case, warm, seconds)
                    for number, case in enumerate(cases)
                ]
            for case, future in zip(cases, futures, strict=True):
                figures += _figures(*case, future.result())
    return tuple(figures)


def _figures(disk: str, rate: int, connected: bool, wear: Wear) -> list[Figure]:
    name = f"{rate}/s, {'delivering' if connected else 'offline'}, {DISKS[disk]}"
    size = f", {wear.payload:.0f} B of JSON each" if wear.payload else ""
    charged = wear.charged_bytes / wear.sightings
    return [
        single(
            f"written per sighting at {name}",
            "B",
            ("to the disk", [wear.recorded_bytes / wear.sightings]),
            at_most=MOST_BYTES[rate],
            note=f"{wear.sightings} sightings{size}; {wear.writes / wear.sightings:.2f} writes "
            f"each; the kernel charges the process {charged:.0f} B each",
        ),
        single(
            f"flushes per sighting at {name}", "1", ("of the disk", [wear.flushes / wear.sightings])
        ),
    ]


def measure(
    folder: Path, name: str, rate: int, connected: bool, warm: float, seconds: float
) -> Wear:
    """Run the program on one of the `DISKS`, let it warm up, and count.

    Raises RuntimeError where it does not run.
    """
    folder.mkdir()
    with Broker(folder) as broker, recorded(name, folder) as (disk, count):
        port = broker.port if connected else free_port()
        device = _device(disk, port, rate)
        device.log = folder / "device.log"
        subprocess.run(["sync", "-f", disk], check=True)
        with device.running(kill=True) as process:

            def up() -> bool:
                return device.outbox.exists() and _given_out(device) > 0

            until(lambda: up() or process.poll() is not None, 60, 0.1)
            if not up():
                raise RuntimeError(f"no sighting came: {device.said()}")
            time.sleep(warm)
            marks = [(_given_out(device), count(), _charged(process.pid))]
            time.sleep(seconds)
            marks.append((_given_out(device), count(), _charged(process.pid)))
        payload = _payload(device)
    (first, entry, charged), (last, last_entry, last_charged) = marks
    counted = Recording(folder).written(entry, last_entry)
    return Wear(last - first, *counted, last_charged - charged, payload)


def _device(disk: Path, port: int, rate: int) -> Device:
    """A device with the settings it is shipped with, except for what a run here must have."""
    device = Device(disk / "device", port, rate)
    text = device.config.read_text("utf-8").partition("[report]")[0]
    device.config.write_text(re.sub(r"retry_\w+ = .*\n", "", text))
    return device


def _given_out(device: Device) -> int:
    """Read the last number given, where the database is so far."""
    try:
        return device.given_out()
    except Exception:  # it is being made
        return 0


def _charged(process: int) -> int:
    text = Path(f"/proc/{process}/io").read_text()
    found = dict(line.split(": ") for line in text.splitlines())
    return int(found["write_bytes"])


def _payload(device: Device) -> float:
    sizes = [len(json.dumps(one)) for one in messages(device.outbox).sightings[:50]]
    return sum(sizes) / len(sizes) if sizes else 0.0
