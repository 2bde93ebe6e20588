"""In the field: draining a week's outage, frames while the broker is stalled, and what all costs.

Frames per second come out of the device's own health messages, one a second: frames classified
between the first and the last of them. Both sides of a pair run in turn, with 1080p JPEG files.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import bundles, material
from benchmarks.harness import TREE, Options, scratch
from benchmarks.outbox import drain, fill, paho_rate
from benchmarks.result import Figure, pair, single
from benchmarks.sightings import sightings
from benchmarks.start import wheatear
from edge.messages.base import encode
from edge.messages.health import Health
from soak.broker import Broker
from soak.control import beside

SOURCES = (
    "edge/**/*.py",
    "benchmarks/b*.py",
    "benchmarks/outbox.py",
    "benchmarks/drain.py",
    "soak/broker.py",
)
MATERIAL = (material.MODEL, material.LABELS)
WEEK = 100_800
"""Sightings of a week, one every six seconds."""
FRAMES = 300
CONFIG = """
[device]
id = "bench"
[model]
bundle = "{bundle}"
[camera]
kind = "folder"
path = "{frames}"
loop = true
[broker]
host = "127.0.0.1"
port = {port}
[report]
health_seconds = 1
{more}
"""
EVERY_FRAME = '[decision]\nmode = "always"\n'
PLAIN = """[decision]
mode = "votes"
[requests]
allow = []
[drift]
measure = false
"""
EVERYTHING = """prometheus_file = "wheatear.prom"
prometheus_seconds = 1
[view]
mask_polygons = [[[0.0, 0.0], [0.2, 0.0], [0.0, 0.2]]]
[trigger]
windows = ["00:00-12:00", "12:00-24:00"]
time_zone = "UTC"
[decision]
mode = "visits"
[images]
send = true
[inbox]
keep = true
send = true
min_free_bytes = 0
[requests]
allow = ["status", "config/get", "drift", "log"]
[drift]
measure = true
[homeassistant]
enabled = true
"""


def run(data: Path, options: Options) -> tuple[Figure, ...]:
    """Measure on the disk that holds ``--out``."""
    with scratch(options.out, "field-") as folder:
        return (*drained(folder, options), *frame_rates(data, folder, options))


def drained(folder: Path, options: Options) -> list[Figure]:
    """Send what a week without a network left, beside raw paho, and look at memory."""
    repeats, count, few = (1, 100, 10) if options.tiny else (3, WEEK, 1_000)
    payloads = folder / "payloads.jsonl"
    payloads.write_bytes(b"\n".join(encode(message) for message in sightings(count)))
    ours: list[float] = []
    theirs: list[float] = []
    peaks: list[float] = []
    for number in range(repeats):
        path = fill(folder / f"week-{number}.db", count)
        with Broker(folder, lasting=False) as broker:
            report = drain(path, broker.port, count)
        path.unlink()
        ours.append(report["per_second"])
        theirs.append(paho_rate(folder, payloads))
        with Broker(folder, lasting=False) as broker:
            small = drain(fill(folder / f"few-{number}.db", few), broker.port, few)
        peaks.append(report["peak_mib"] - small["peak_mib"])
    return [
        pair(
            f"{count:,} sightings after an outage, QoS 1",
            "messages/s",
            ("publisher from the outbox", ours),
            ("raw paho from memory", theirs),
            at_least=0.8,
        ),
        single(
            f"memory that draining them takes beyond draining {few:,}",
            "MiB",
            ("growth", peaks),
            at_most=10,
        ),
    ]


def frame_rates(data: Path, folder: Path, options: Options) -> list[Figure]:
    """Frames per second with a stalled broker, and with everything switched on."""
    repeats, seconds, count = (1, 4.0, 12) if options.tiny else (5, 12.0, FRAMES)
    frames = material.frames(data, options.out / "material" / "frames-1080p", count)[0].parent
    bundle = bundles.third_party(data, options.out / "material" / "mobilenet-1.wtr")
    rates: dict[str, list[float]] = {"stalled": [], "not": [], "everything": [], "plain": []}
    for _ in range(repeats):
        for name, more, stall in (
            ("stalled", EVERY_FRAME, True),
            ("not", EVERY_FRAME, False),
            ("everything", EVERYTHING, False),
            ("plain", PLAIN, False),
        ):
            text = CONFIG.format(bundle=bundle, frames=frames, port="{port}", more=more)
            with scratch(folder, name) as place:
                rates[name].append(frame_rate(place, text, seconds, stall))
    milliseconds = {name: [1e3 / rate for rate in found] for name, found in rates.items()}
    return [
        pair(
            "frames while the broker is stalled",
            "frames/s",
            ("broker stopped in the middle", rates["stalled"]),
            ("broker running", rates["not"]),
            at_least=0.95,
        ),
        pair(
            "a frame with everything switched on",
            "ms",
            ("everything", milliseconds["everything"]),
            ("nothing but the pipeline", milliseconds["plain"]),
            at_most=1.1,
            note="mask, window, lives, pictures, inbox, requests, drift, Prometheus and Home "
            "Assistant; no tiles (more inferences) and no motion (fewer)",
        ),
    ]


def frame_rate(folder: Path, config: str, seconds: float, stall: bool) -> float:
    """Run the device for so long; give frames per second from its health messages.

    Raises:
        RuntimeError: it ended by itself or told of its health less than twice.
    """
    with Broker(folder, lasting=False) as broker:
        file = folder / "config.toml"
        file.write_text(config.replace("{port}", str(broker.port)))
        healths, arrived = _listen(broker.port)
        process = subprocess.Popen(
            [*wheatear(), "run", "--config", str(file), "--log-level", "error"],
            env={**os.environ, "PYTHONPATH": str(TREE)},
        )
        try:
            while not arrived.wait(0.1) and process.poll() is None:
                pass
            if stall:
                broker.send_signal(signal.SIGSTOP)
            time.sleep(seconds)
            if process.poll() is not None:
                raise RuntimeError(f"the device ended with status {process.returncode}")
            if stall:
                healths = [healths[0], *_waiting(folder / "outbox.db")]
        finally:
            broker.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(30)
    if len(healths) < 2:
        raise RuntimeError(f"{len(healths)} health messages in {seconds} s")
    first, last = healths[0], healths[-1]
    return (last.frames.classified - first.frames.classified) / (
        last.uptime_seconds - first.uptime_seconds
    )


def _listen(port: int) -> tuple[list[Health], threading.Event]:
    """Collect health messages in the background until the broker ends."""
    healths: list[Health] = []
    arrived = threading.Event()

    def take(_client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        healths.append(msgspec.json.decode(message.payload, type=Health))
        arrived.set()

    client = mqtt.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
    client.on_message = take
    client.connect("127.0.0.1", port)
    client.subscribe("wheatear/bench/health")
    client.loop_start()
    return healths, arrived


def _waiting(path: Path) -> list[Health]:
    """Read the health messages that wait in an outbox, oldest first."""
    with beside(path) as database:
        rows = database.execute("SELECT payload FROM message WHERE kind = 1 ORDER BY row")
        return [msgspec.json.decode(payload, type=Health) for (payload,) in rows]
