"""The camera's folder pulled out and put back, and pictures that are cut short or nonsense."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

from soak.broker import Application, Broker
from soak.device import PHOTOS, Device
from soak.ledger import Ledger
from soak.scenario import Options, Round, chance

PULLS = 5


def rounds(options: Options) -> int:
    """Five pulls a round."""
    return -(-options.pulls // PULLS)


def play(number: int, folder: Path, options: Options) -> Round:
    """Spoil pictures, pull the folder out and put it back while the device runs."""
    random = chance(options, "camera", number)
    pulls = min(PULLS, options.pulls - number * PULLS)
    ledger = Ledger(follows=False)
    problems: list[str] = []
    with Broker(folder) as broker, Application(broker.port, ledger) as application:
        device = Device(folder, broker.port, options.rate)
        bad = spoil(device, random)
        with device.running() as process:
            for _ in range(pulls):
                if not application.more():
                    return Round(problems=(f"nothing came: {device.said()}",))
                device.photos.rename(folder / "pulled out")
                time.sleep(random.uniform(0, options.patience))
                (folder / "pulled out").rename(device.photos)
            if not application.more():
                problems.append(f"nothing came when the folder was back: {device.said()}")
        if process.returncode:
            problems.append(f"it ended with status {process.returncode}: {device.said()}")
        problems += device.settle(application)
    said = device.log.read_text("utf-8", "replace")
    if bad and f"({bad} bad" not in said:
        problems.append(f"{bad} bad pictures of the last run were not counted")
    if "Traceback" in said:
        problems.append("an error was not foreseen")
    counts = {"pulls": pulls, "bad pictures": bad, **ledger.counts()}
    return Round(counts=counts, problems=tuple(problems))


def spoil(device: Device, random: Random) -> int:
    """Damage a fifth of the pictures beyond reading; give how many."""
    files = random.sample(sorted(device.photos.iterdir()), PHOTOS // 5)
    for file in files:
        content = file.read_bytes()
        file.write_bytes(
            random.choice((b"", content[:20], random.randbytes(500), content[: len(content) // 3]))
        )
    return len(files)
