"""The field part of the demo: ``wheatear run`` on held-out pictures while the broker goes away.

The camera reaches the broker through a port in front of it. That refuses first, then the broker
stops, and it lets through only when the dashboard has subscribed again: so the demo can count every
sighting.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live

from demo.broker import Broker
from demo.dashboard import Dashboard
from soak.proxy import Proxy
from soak.scenario import until

DEVICE = "demo-cam"
SETTLE_SECONDS = 1.5
OUTAGE_SECONDS = 6.0
LIMIT_SECONDS = 240.0
CONFIG = """\
[device]
id = "{device}"

[model]
bundle = "{bundle}"

[camera]
kind = "folder"
path = "field"
frames_per_second = {rate}

[decision]
mode = "always"

[broker]
host = "127.0.0.1"
port = {port}
retry_max_seconds = 1.0
historical_after_seconds = 2.0
"""


@dataclass(frozen=True)
class Setup:
    """What the camera sees and how it runs."""

    out: Path
    """Folder of the demo; `wheatear.log`, `config.toml` and the outbox go there."""
    bundle: Path
    truth: dict[Path, str]
    """Picture -> its true class, or "unknown" for the pest no model was taught."""
    rate: float
    """Frames per second."""

    @property
    def seconds(self) -> float:
        """How long the replay takes."""
        return len(self.truth) / self.rate

    def write_config(self, port: int) -> Path:
        """Write the camera's configuration; the broker is on 127.0.0.1:`port`."""
        path = self.out / "config.toml"
        values = {"device": DEVICE, "bundle": self.bundle.name, "rate": self.rate, "port": port}
        path.write_text(CONFIG.format(**values), encoding="utf-8")
        return path


def prepare(out: Path, bundle: Path, rate: float) -> Setup:
    """Lay out the held-out pictures in a shuffled order and write down how to run the camera."""
    field = out / "field"
    field.mkdir()
    with (out / "run" / "split.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    pictures = [(out / "photos" / row["file"], row["label"]) for row in rows]
    # labels.csv does not name these, so nothing was trained on them.
    secret = (out / "photos" / "unknown").iterdir()
    pictures += [(path, "unknown") for path in sorted(secret)]
    random.Random(0).shuffle(pictures)
    truth = {}
    for number, (picture, label) in enumerate(pictures):
        target = field / f"{number:04d}.jpg"
        shutil.copyfile(picture, target)
        truth[target] = label
    return Setup(out, bundle, truth, rate)


class Field:
    """Runs the camera, the broker and the dashboard together.

    Attributes:
        truth: picture -> true class.
        sent: sightings the device decided, one for each picture.
        dashboard: what arrived.
    """

    def __init__(self, setup: Setup, console: Console) -> None:
        self.truth = setup.truth
        self.sent = len(setup.truth)
        self._setup, self._console = setup, console
        self._broker = Broker()
        self.dashboard = Dashboard(self._broker.port, DEVICE)

    def run(self) -> None:
        """Replay every picture, with an outage in the middle, until all sightings are delivered."""
        setup = self._setup
        self._broker.start()
        self.dashboard.start()
        self.dashboard.connected.wait(10)
        with (
            Proxy(self._broker.port) as network,
            (setup.out / "wheatear.log").open("w") as log,
            Live(console=self._console, auto_refresh=False) as live,
        ):
            config = str(setup.write_config(network.port))
            command = [sys.executable, "-m", "edge", "run", "--config", config]
            camera = subprocess.Popen(command, stderr=log, stdout=log)
            try:
                # So that the outage falls into its work.
                until(lambda: self.dashboard.sightings or camera.poll() is not None, LIMIT_SECONDS)
                self._watch(live, camera, "the network is there", setup.seconds / 3)
                network.refuse()
                time.sleep(SETTLE_SECONDS)
                self._broker.stop()
                self._watch(live, camera, "[red]the broker is gone[/red]", OUTAGE_SECONDS)
                self._broker.start()
                self.dashboard.connected.wait(10)
                network.forward()
                self._watch(live, camera, "the broker is back", LIMIT_SECONDS)
                time.sleep(SETTLE_SECONDS)
            finally:
                camera.terminate()
                camera.wait(20)
                self.dashboard.stop()
                self._broker.stop()

    def _watch(
        self, live: Live, camera: subprocess.Popen[bytes], state: str, seconds: float
    ) -> None:
        since = time.monotonic()
        while time.monotonic() - since < seconds and camera.poll() is None:
            got = len(self.dashboard.sightings)
            title = f"{state}   {got} of {self.sent} arrived, {self.missing()} not yet"
            live.update(self.dashboard.table(title), refresh=True)
            time.sleep(0.25)

    def missing(self) -> int:
        """Pictures for which no sighting arrived."""
        return self.sent - len(self.dashboard.sightings)

    def milliseconds(self) -> float:
        """Median milliseconds of one inference on this machine, by `wheatear bench`."""
        bundle = str(self._setup.bundle)
        command = [sys.executable, "-m", "edge", "bench", "--bundle", bundle, "--json"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(json.loads(done.stdout)["invoke"]["p50"])
