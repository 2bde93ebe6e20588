"""Whole pipeline: 1080p JPEG files to sightings on disk that mosquitto has acknowledged.

`wheatear run` with a folder camera, every frame a sighting, one inference thread, beside a bare
loop of draft-mode decode and invoke, and beside tflite-support's ImageClassifier. Ours counts from
the moment the first file is read to the last sighting's arrival at a subscriber.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import bundles, material, peer
from benchmarks.harness import TREE, Options, launch, scratch
from benchmarks.result import Figure, pair
from benchmarks.start import wheatear
from soak.broker import Broker

SOURCES = ("edge/**/*.py", "benchmarks/b*.py", "benchmarks/material.py", "soak/broker.py")
MATERIAL = (material.MODEL, material.LABELS)
REPEATS, FRAMES = 5, 300
CONFIG = """
[device]
id = "bench"
[model]
bundle = "{bundle}"
threads = 1
[camera]
kind = "folder"
path = "{frames}"
[decision]
mode = "always"
[outbox]
path = "outbox.db"
[broker]
host = "127.0.0.1"
port = {port}
"""


class Subscriber:
    """Counts sightings and notes when the last of them arrived."""

    def __init__(self, port: int) -> None:
        self.seen: dict[int, float] = {}
        """First arrival by sequence number, seconds since 1970."""
        self.first = float("inf")
        """When the first frame was taken, seconds since 1970."""
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._note
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("wheatear/bench/sighting", qos=1)
        self._client.loop_start()
        if not self._subscribed.wait(10):
            raise RuntimeError("the subscriber was not let in within 10 seconds")

    def _note(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        now = time.time()
        sighting = json.loads(message.payload)
        self.seen.setdefault(sighting["seq"], now)
        self.first = min(self.first, datetime.fromisoformat(sighting["time"]).timestamp())

    def close(self) -> None:
        """Stop listening."""
        self._client.disconnect()
        self._client.loop_stop()


def run(data: Path, options: Options) -> tuple[Figure, ...]:
    """Measure frames per second of the three in turn, and ours beside the loop on one core."""
    repeats, count = (1, 12) if options.tiny else (REPEATS, FRAMES)
    folder = options.out / "material"
    files = material.frames(data, folder / "frames-1080p", count)
    bundle = bundles.third_party(data, folder / "mobilenet-1.wtr")
    loop = TREE / "benchmarks" / "baselines" / "bare_loop.py"
    arguments = [str(data / material.MODEL), *map(str, files)]
    peer_command, peer_problem = _peer(options)
    ours: list[float] = []
    ours_one: list[float] = []
    bare: list[float] = []
    bare_one: list[float] = []
    theirs: list[float] = []
    for _ in range(repeats):
        ours.append(agent_fps(bundle, files, options.out))
        bare.append(_fps([sys.executable, str(loop), *arguments]))
        if peer_command:
            theirs.append(_fps([*peer_command, *arguments]))
        ours_one.append(agent_fps(bundle, files, options.out, affinity={0}))
        bare_one.append(_fps([sys.executable, str(loop), *arguments], affinity={0}))
    unit = "frames/s"
    return (
        pair(
            "whole pipeline, 1080p JPEG to acknowledged sighting",
            unit,
            ("wheatear run", ours),
            ("bare decode and invoke", bare),
            at_least=0.9,
        ),
        pair(
            "the same files with tflite-support",
            unit,
            ("wheatear run", ours),
            ("ImageClassifier", theirs),
            at_least=1.6,
            note=peer_problem,
        ),
        pair(
            "whole pipeline, the process held to one core",
            unit,
            ("wheatear run", ours_one),
            ("bare decode and invoke", bare_one),
            note="without a target: the program decodes, infers and publishes in turn on one core",
        ),
    )


def agent_fps(
    bundle: Path, files: list[Path], out: Path, affinity: set[int] | None = None
) -> float:
    """Run the real agent over the files; gives frames per second.

    Raises:
        RuntimeError: A sighting did not arrive, or was not acknowledged.
    """
    with scratch(out, "run-") as folder:
        with Broker(folder, lasting=False) as broker:
            text = CONFIG.format(bundle=bundle, frames=files[0].parent, port=broker.port)
            (folder / "config.toml").write_text(text)
            subscriber = Subscriber(broker.port)
            command = [*wheatear(), "run", "--config", str(folder / "config.toml")]
            launch(command, affinity=affinity)
            time.sleep(0.2)
            subscriber.close()
        missing = len(files) - len(subscriber.seen)
        if missing:
            raise RuntimeError(f"{missing} of {len(files)} sightings never arrived")
        left = waiting(folder / "outbox.db")
        if left:
            raise RuntimeError(f"{left} messages were not acknowledged")
        # A frame bears the time when it was decoded: the first decoding is not in that span.
        return (len(files) - 1) / (max(subscriber.seen.values()) - subscriber.first)


def waiting(path: Path) -> int:
    """Count the messages that an outbox file still holds."""
    with sqlite3.connect(path) as connection:
        count: int = connection.execute("SELECT COUNT(*) FROM message").fetchone()[0]
    return count


def _fps(command: list[str], affinity: set[int] | None = None) -> float:
    fps: float = json.loads(str(launch(command, affinity=affinity)["stdout"]))["fps"]
    return fps


def _peer(options: Options) -> tuple[list[str], str]:
    """The command of the tflite-support loop, or why there is none."""
    if options.tiny:
        return [], "not measured: tiny"
    try:
        python = peer.tflite_support_python(options.out / "tflite-support")
    except RuntimeError as error:
        print(f"!! NOT MEASURED beside tflite-support: {error}", file=sys.stderr, flush=True)
        return [], f"not measured: {error}"
    return [str(python), str(TREE / "benchmarks/baselines/tflite_support_loop.py")], ""
