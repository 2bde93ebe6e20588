"""A week without a network on an injected clock: every sighting kept, then delivered in order.

Agent, decider, writer, outbox and publisher are the device's own, in a process of their own; only
frames and clock are made: a frame every six simulated seconds. The broker refuses connections
until the week is over; then everything is delivered over real MQTT.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edge.cameras import Frame
from edge.cameras.photo import shrink_jpeg
from edge.config import Broker as Settings
from edge.config import load_config
from edge.device.agent import Agent
from edge.device.health.meter import HealthMeter
from edge.device.health.parts import DeviceHealth, QueueHealth
from edge.device.health.reporter import Reporter
from edge.messages.base import Clock as Quality
from edge.messages.device import RunningModel
from edge.messages.sighting import ModelRef
from edge.model.image.preprocessing import decode
from edge.model.tiled_classifier import TiledClassifier
from edge.mqtt.delivery import Waiting
from edge.mqtt.publisher import Publisher, Retained
from edge.outbox.dead_letters import FOLDER, DeadLetters
from edge.outbox.outbox import Outbox
from edge.outbox.writer import Writer
from edge.sightings.builder import SightingBuilder
from edge.sightings.decision import Decider
from edge.sightings.identity import Identity
from edge.system.bell import Bell
from edge.system.clock import Clock
from edge.system.counters import Counters
from edge.updates.load import open_classifier
from soak.broker import Application, Broker
from soak.device import COLOURS, ENVIRONMENT, Device, picture
from soak.ledger import Ledger
from soak.proxy import Proxy
from soak.scenario import Options, Round

START = datetime(2026, 6, 1, tzinfo=UTC)
SECONDS = 6
"""Simulated seconds from one frame to the next."""
LATE_SECONDS = Settings().historical_after_seconds
MEMORY_MIB = 10.0
"""How much resident memory may grow from the first hundredth of the week on."""

Jumps = dict[str, float]
"""Seconds by which the clock jumps before a frame, by the frame's number."""


def rounds(options: Options) -> int:
    """One week, if any."""
    return min(1, options.events)


def play(number: int, folder: Path, options: Options) -> Round:  # noqa: ARG001
    """Let the week pass, and look at memory too."""
    found = live(folder, options.events, {})
    problems = found.problems
    grown = found.largest.get("MiB that memory grew", 0.0)
    if grown > MEMORY_MIB:
        problems += (f"memory grew by {grown:.1f} MiB",)
    return Round(counts=found.counts, largest=found.largest, problems=problems)


def live(folder: Path, events: int, jumps: Jumps) -> Round:
    """Run the device in a process of its own, and keep the application's books here.

    All is sent when the simulated clock has come to its end, so which sightings are late, by the
    device's own clock, is known of each: in the week all but those of the last minute.
    """

    def taken(sighting: dict[str, Any]) -> datetime:
        return taken_at(sighting["seq"] - 1, jumps)

    def late(sighting: dict[str, Any]) -> bool | None:
        age = (taken_at(events - 1, jumps) - taken(sighting)).total_seconds()
        return None if jumps and abs(age - LATE_SECONDS) < 0.01 else age >= LATE_SECONDS

    ledger = Ledger(taken, follows=False, late=late)
    with (
        Broker(folder) as broker,
        Application(broker.port, ledger) as application,
        Proxy(broker.port) as network,
    ):
        network.refuse()
        device = Device(folder, network.port)
        arguments = [str(device.config), str(events), json.dumps(jumps)]
        command = [sys.executable, "-m", "soak.week", *arguments]
        pipe = subprocess.PIPE
        with (
            device.log.open("wb") as log,
            subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=log, env=ENVIRONMENT
            ) as process,
        ):
            try:
                assert process.stdout is not None
                if process.stdout.readline():
                    network.forward()
                line = process.communicate()[0]
            finally:
                process.kill()
        if process.returncode or not line:
            return Round(problems=(f"the device ended: {device.said()}",))
        application.wait(lambda now: now.next_seq > events)
    measured: dict[str, float] = json.loads(line)
    problems = ledger.judge(events)
    return Round(counts=ledger.counts(), largest=measured, problems=problems)


def taken_at(number: int, jumps: Jumps) -> datetime:
    """When the frame of this number, from 0, was taken, by a clock that jumped."""
    jumped = sum(seconds for frame, seconds in jumps.items() if int(frame) <= number)
    return START + timedelta(seconds=SECONDS * number + jumped)


class Simulated(Clock):
    """The clock and the frames of the week: a new frame moves the clock on."""

    capture_seconds = 0.0

    def __init__(self, frames: int, jumps: Jumps) -> None:
        super().__init__()
        self._frames, self._jumps, self._next = frames, jumps, 0
        self._pictures = [decode(picture(label)) for label in COLOURS]
        self.memory = 0
        """Resident bytes when a hundredth of the frames was taken."""

    def next(self, timeout_seconds: float) -> Frame | None:  # noqa: ARG002
        """Return the next frame at once."""
        if self.ended:
            return None
        number, self._next = self._next, self._next + 1
        if number == self._frames // 100:
            self.memory = resident()
        return Frame(
            pixels=self._pictures[number % len(self._pictures)],
            time=self.now(),
            source=f"{number:06d}",
            width=64,
            height=48,
            jpeg=lambda: picture("leaf"),
            location=None,
        )

    @property
    def ended(self) -> bool:
        """The week is over."""
        return self._next >= self._frames

    def now(self) -> datetime:
        """The simulated time of day."""
        return taken_at(max(0, self._next - 1), self._jumps)

    def monotonic(self) -> float:
        """Simulated seconds."""
        return float(SECONDS * max(0, self._next - 1))

    def quality(self) -> Quality:
        """Nothing sets the clock in the field."""
        return "unsynced"


def resident() -> int:
    """The resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(config_file: str, events: int, jumps: Jumps) -> None:
    """Be the device. Says on stdout when the week is over, then what was measured, as JSON."""
    bell = Bell()
    config, week, counters = load_config(config_file), Simulated(events, jumps), Counters()
    classifier, stop = open_classifier(config), threading.Event()
    model = ModelRef(name="colours", version="1", sha256="0" * 64)
    running = RunningModel(
        **{name: getattr(model, name) for name in ("name", "version", "sha256")},
        labels=classifier.labels,
        runtime="fake",
        runtime_version="1",
    )
    with Outbox(config.outbox.path, config.outbox.max_bytes) as outbox:
        writer = Writer(outbox, bell.news, counters)
        reporter = Reporter(config, running, outbox, writer, counters, week)
        letters = DeadLetters(config.outbox.path.with_name(FOLDER))
        parts = DeviceHealth(config, counters, week), QueueHealth(outbox, letters, week)
        publisher = Publisher(
            config.broker,
            "cam-1",
            Waiting(outbox, shrink_jpeg),
            Retained(reporter.info, reporter.state),
            counters,
            week,
            bell,
        )
        agent = Agent(
            week,
            TiledClassifier(classifier, config.view),
            Decider(config.decision),
            SightingBuilder(Identity("cam-1", "b0", model, None), config.images, counters, week),
            writer.submit,
            HealthMeter([one.part for one in parts], counters).report,
            300.0,
            counters,
            week,
            stop,
        )
        writer.start()
        publisher.start()
        agent.run()
        while not writer.flush(1.0):
            pass
        waiting, started = outbox.depth().waiting, time.monotonic()
        _tell("over")
        peak = resident()
        while outbox.depth().waiting:
            time.sleep(0.02)
            peak = max(peak, resident())
        seconds = time.monotonic() - started
        writer.close()
        publisher.close()
    found = {
        "waiting at the end": waiting,
        "messages/s delivered": waiting / seconds,
        "MiB that memory grew": (peak - week.memory) / 2**20,
    }
    _tell(json.dumps(found))


def _tell(line: str) -> None:
    """Write a line for the parent."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
