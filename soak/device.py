"""A small device: `wheatear run` as a process, with photos that the fake runtime can tell apart."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from edge.model.bundle.bundle import write_bundle
from edge.model.bundle.manifest import Golden, Interpreter, LabelSpec, Manifest, OutputSpec
from edge.model.image.preprocessing import InputSpec, decode, fit, quantise
from edge.model.runtimes.fake import Fake, fake_model
from edge.model.scores import DecisionSpec
from edge.outbox.counts import OutboxCounts
from soak.broker import Application
from soak.control import beside
from soak.ledger import Ledger

TREE = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(TREE)}
"""Of processes that run this tree's programs."""
COLOURS = {"aphid": (40, 160, 40), "beetle": (160, 30, 30), "leaf": (90, 90, 200)}
SPEC = InputSpec(width=32, height=32, mean=(0.0,), std=(1.0,), scale=1.0, zero_point=0)
PHOTOS = 60
CONFIG = """[device]
id = "cam-1"
[model]
bundle = "model.wtr"
runtime = "fake"
[camera]
kind = "folder"
path = "photos"
{camera}
[decision]
mode = "always"
[broker]
host = "127.0.0.1"
port = {port}
retry_min_seconds = 0.05
retry_max_seconds = 0.2
{broker}
[report]
health_seconds = 1
state_seconds = 0.2
{more}
"""


def picture(label: str, form: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    """Picture bytes that the model takes for `label`."""
    noise = np.random.default_rng(len(label)).integers(-15, 16, (size[1], size[0], 3))
    pixels = np.clip(np.array(COLOURS[label]) + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def bundle(path: Path, version: str = "1") -> Path:
    """Write a bundle for the fake runtime, which tells the colours apart."""
    model = fake_model(len(COLOURS), size=SPEC.width, colours=list(COLOURS.values()))
    golden = picture("aphid", "PNG")
    scores = Fake(model).invoke(quantise(fit(decode(golden), SPEC), SPEC))
    manifest = Manifest(
        name="colours",
        version=version,
        created="2026-01-01T00:00:00Z",
        labels=tuple(LabelSpec(id=label, name=label) for label in COLOURS),
        input=SPEC,
        output=OutputSpec(kind="logits", dtype="float32"),
        decision=DecisionSpec(),
        goldens=(Golden(file="golden/a.png", scores=tuple(map(float, scores)), tolerance=0.01),),
        interpreter=Interpreter(name="fake", version="1"),
    )
    write_bundle(path, manifest, {"model.tflite": model, "golden/a.png": golden})
    return path


class Device:
    """The files of a device in `folder`, and its process.

    `rate`: pictures a second, over and over; 0: as fast as it can, and once.
    """

    def __init__(
        self, folder: Path, port: int, rate: float = 0, broker: str = "", more: str = ""
    ) -> None:
        self.folder, self.outbox = folder, folder / "outbox.db"
        self.photos = folder / "photos"
        self.config = folder / "config.toml"
        self.log = folder / "device.log"
        self.photos.mkdir(parents=True)
        for number in range(PHOTOS):
            label = list(COLOURS)[number % len(COLOURS)]
            (self.photos / f"{number:05d}-{label}.jpg").write_bytes(picture(label))
        bundle(folder / "model.wtr")
        camera = f"frames_per_second = {rate}\nloop = true" if rate else ""
        text = CONFIG.format(port=port, camera=camera, broker=broker, more=more)
        self.config.write_text(text)

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start it; what it says is added to ``device.log``."""
        command = [sys.executable, "-m", "edge", "run", "--config", str(self.config), *options]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stderr=log, env=ENVIRONMENT)

    @contextlib.contextmanager
    def running(self, kill: bool = False) -> Iterator[subprocess.Popen[bytes]]:
        """Run it meanwhile; in the end it is told to stop, or killed."""
        process = self.start()
        try:
            yield process
        finally:
            process.kill() if kill else process.terminate()
            process.wait(60)

    def finish(self, seconds: float = 120.0) -> tuple[str, ...]:
        """Run it once more over its photos, until nothing waits; name what went wrong."""
        process = self.start("--once", "--drain-timeout", str(seconds))
        try:
            status = process.wait(seconds + 30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return ("the last run did not end",)
        if status:
            return (f"the last run ended with status {status}: {self.said()}",)
        return ()

    def settle(
        self, application: Application, also: Callable[[Ledger], bool] = lambda _: True
    ) -> tuple[str, ...]:
        """Let it deliver all it has, and `also` be so; name what is wrong with it or the books."""
        problems, given_out = self.finish(), self.given_out()
        application.wait(lambda now: now.next_seq > given_out and also(now))
        return problems + application.ledger.judge(given_out)

    def said(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return lines[-1] if lines else ""

    def given_out(self) -> int:
        """Read the last number that it gave to a sighting, from its database."""
        with beside(self.outbox) as database:
            return OutboxCounts(database).next_seq - 1
