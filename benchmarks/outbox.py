"""The outbox: durable events in, acknowledged messages out, memory with a million waiting."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import TREE, Options, launch, scratch
from benchmarks.result import Figure, pair, single
from benchmarks.sightings import batches, sightings
from edge.messages.base import encode
from edge.messages.sighting import Sighting
from edge.outbox.outbox import Outbox
from soak.broker import Broker

SOURCES = ("edge/**/*.py", "benchmarks/sightings.py", "benchmarks/drain.py", "soak/broker.py")
MATERIAL = ()
BATCH = 64
WINDOW = 20
"""Messages in flight at most, on both sides; mosquitto's default limit."""
BYTES = 4_000_000_000
"""Limit of the outbox, high enough that a million sightings stay."""


def run(data: Path, options: Options) -> tuple[Figure, ...]:  # noqa: ARG001
    """Measure on the disk that holds ``--out``."""
    with scratch(options.out, "outbox-") as folder:
        return (*into(folder, options), *out_of(folder, options), *memory(folder, options))


def into(folder: Path, options: Options) -> list[Figure]:
    """Events per second that are on disk, in commits of 64 and one by one."""
    repeats, count, alone = (2, 128, 10) if options.tiny else (7, 12_800, 1_000)
    ours: list[float] = []
    theirs: list[float] = []
    ours_alone: list[float] = []
    theirs_alone: list[float] = []
    for number in range(repeats):
        for size, total, mine, other in (
            (BATCH, count, ours, theirs),
            (1, alone, ours_alone, theirs_alone),
        ):
            lists = list(batches(total, size))
            with Outbox(folder / f"in-{number}-{size}.db", max_bytes=BYTES) as outbox:
                start = time.perf_counter()
                for messages in lists:
                    outbox.append_many(messages)
                mine.append(total / (time.perf_counter() - start))
            other.append(_bare_table(folder / f"bare-{number}-{size}.db", lists))
    bare = "bare SQLite table"
    return [
        single("durable events in, 64 a commit", "events/s", ("outbox", ours), at_least=5000),
        pair(
            "the same beside SQLite",
            "events/s",
            ("outbox", ours),
            (bare, theirs),
            note="same journal and sync mode; the table holds an id and the JSON, encoded in time",
        ),
        pair("one event a commit", "events/s", ("outbox", ours_alone), (bare, theirs_alone)),
    ]


def out_of(folder: Path, options: Options) -> list[Figure]:
    """Messages per second from the outbox to mosquitto, beside raw paho from memory."""
    repeats, count = (1, 100) if options.tiny else (5, 20_000)
    payloads = folder / "payloads.jsonl"
    payloads.write_bytes(b"\n".join(encode(message) for message in sightings(count)))
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(repeats):
        path = fill(folder / f"out-{number}.db", count)
        with Broker(folder, lasting=False) as broker:
            ours.append(float(drain(path, broker.port, count)["per_second"]))
        theirs.append(paho_rate(folder, payloads))
    return [
        pair(
            "out, QoS 1 to mosquitto",
            "messages/s",
            ("publisher from the outbox", ours),
            ("raw paho from memory", theirs),
            at_least=0.8,
            note=f"both at most {WINDOW} messages in flight, one process each",
        )
    ]


def memory(folder: Path, options: Options) -> list[Figure]:
    """Peak memory of a publisher that sends 2,000 of what waits."""
    few, many, send = (10, 100, 5) if options.tiny else (1_000, 1_000_000, 1_000)
    peaks, opened = {}, {}
    for count in (few, many):
        path = fill(folder / f"memory-{count}.db", count)
        with Broker(folder, lasting=False) as broker:
            report = drain(path, broker.port, send)
        peaks[count], opened[count] = float(report["peak_mib"]), float(report["open_seconds"])
        path.unlink()
    return [
        single(
            f"memory that {many:,} waiting take beyond {few:,}",
            "MiB",
            ("growth", [peaks[many] - peaks[few]]),
            at_most=8,
            note=f"peaks of {peaks[many]:.1f} and {peaks[few]:.1f} MiB while sending",
        ),
        single(f"opening an outbox with {many:,} waiting", "s", ("open", [opened[many]])),
    ]


def fill(path: Path, count: int) -> Path:
    """Make an outbox file with so many sightings."""
    with Outbox(path, max_bytes=BYTES) as outbox:
        for messages in batches(count, 1000):
            outbox.append_many(messages)
    return path


def paho_rate(folder: Path, payloads: Path) -> float:
    """Messages per second that raw paho sends of a file with one payload a line."""
    bare = str(TREE / "benchmarks" / "baselines" / "paho_publish.py")
    with Broker(folder, lasting=False) as broker:
        topic = "wheatear/bench/sighting"
        command = [sys.executable, bare, str(broker.port), topic, str(WINDOW), str(payloads)]
        rate: float = json.loads(str(launch(command)["stdout"]))["per_second"]
    return rate


def drain(path: Path, port: int, count: int) -> dict[str, float]:
    """Send ``count`` waiting messages in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.drain", str(path), str(port), str(count)]
    report = launch([*command, str(WINDOW)])
    return {**json.loads(str(report["stdout"])), "peak_mib": float(report["peak_mib"])}


def _bare_table(path: Path, lists: Sequence[Sequence[Sighting]]) -> float:
    """Events per second into one table of a bare SQLite file with the same durability."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE event (row INTEGER PRIMARY KEY, payload BLOB NOT NULL)")
    start = time.perf_counter()
    for messages in lists:
        connection.execute("BEGIN IMMEDIATE")
        rows = [(encode(message),) for message in messages]
        connection.executemany("INSERT INTO event (payload) VALUES (?)", rows)
        connection.execute("COMMIT")
    rate = sum(map(len, lists)) / (time.perf_counter() - start)
    connection.close()
    return rate
