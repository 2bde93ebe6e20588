"""What a device does with its disk while the power is cut: five loads that know their promises."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from edge.device.config_changes import ChangedConfiguration
from edge.messages.examples import EXAMPLES
from edge.messages.health import Health
from edge.messages.sighting import Evidence, Sighting
from edge.outbox.compression import unpack
from edge.outbox.outbox import Outbox
from edge.outbox.rows import Kind, Outgoing
from edge.system.clock import SystemClock
from edge.updates.install import bring, install, roll_back
from edge.updates.startup import begin
from edge.updates.store import Store
from soak.broker import Application, Broker
from soak.control import beside, messages
from soak.device import Device, bundle
from soak.ledger import Ledger
from soak.promises import Appended, Became, Deleted, Journal
from soak.proxy import Proxy
from soak.week import START

Count = Callable[[], int]
"""Returns how many requests the disk got so far."""
Load = Callable[[Path, Path, Count, Random, float], Journal]
"""Takes the recorded disk, a folder for other files, the count, random numbers, and a factor on how
long it goes on."""

_SIGHTING = EXAMPLES["Sighting"]
_HEALTH = EXAMPLES["Health"]


def outbox(disk: Path, _: Path, count: Count, random: Random, length: float) -> Journal:
    """Append, delete and rewrite, as the program's threads do, but without a pause."""
    journal = Journal()
    seconds = random.choice((0.0, 20.0))
    with Outbox(disk / "outbox.db", delete_seconds=seconds) as box:
        made = 0
        for turn in range(int(250 * length)):
            if turn == 1:
                journal.opened = count()
            chosen = random.random()
            if chosen < 0.62 or not turn:
                some = [
                    message(made + n, random) for n in range(random.choice((1, 1, 1, 2, 5, 20)))
                ]
                made += len(some)
                append(journal, box, some, count)
            elif chosen < 0.95:
                _delete(journal, box, random, count)
            else:
                rows = [row for row in box.newest(0, None, 50) if row.kind is Kind.SIGHTING]
                box.rewrite([(row, _retimed(row.payload)) for row in rows])
        journal.ended = count()
    return journal


def message(number: int, random: Random) -> Outgoing:
    """Mostly a sighting; else a picture or health."""
    chosen, id = random.random(), f"{number:026d}"
    time = START.replace(microsecond=number % 1_000_000)
    if chosen < 0.1:
        assert isinstance(_HEALTH, Health)
        return msgspec.structs.replace(_HEALTH, time=time)
    if chosen < 0.2:
        jpeg = b"\xff\xd8" + random.randbytes(random.randint(100, 9_000)) + b"\xff\xd9"
        return Evidence(id=id, time=time, jpeg=jpeg)
    assert isinstance(_SIGHTING, Sighting)
    phase = random.choice(("single", "single", "begin", "update", "end"))
    event = id if phase == "single" else f"life-{number % 7}"
    changes: dict[str, Any] = {"phase": phase, "event": event, "id": id, "time": time}
    return msgspec.structs.replace(_SIGHTING, **changes)


def append(journal: Journal, box: Outbox, some: list[Outgoing], count: Count) -> None:
    """Append messages, and enter that they are promised."""
    began = count()
    seqs = box.append_many(some)
    numbers = {
        one.id: seq for one, seq in zip(some, seqs, strict=True) if isinstance(one, Sighting)
    }
    pictures = tuple(one.id for one in some if isinstance(one, Evidence))
    journal.promises.append(Appended(began, count(), numbers, pictures))


def _delete(journal: Journal, box: Outbox, random: Random, count: Count) -> None:
    rows = box.page(0, random.randint(1, 60))
    sightings = tuple(_id(row.payload) for row in rows if row.kind is Kind.SIGHTING)
    pictures = tuple(row.topic.split("/")[1] for row in rows if row.kind is Kind.IMAGE)
    journal.promises.append(Deleted(count(), sightings, pictures))
    box.delete([row.row for row in rows])
    box.tidy()


def _id(payload: bytes) -> str:
    return msgspec.json.decode(payload, type=Sighting).id


def _retimed(payload: bytes) -> Sighting:
    return msgspec.structs.replace(msgspec.json.decode(payload, type=Sighting), clock="retimed")


class _Delivered(Ledger):
    """Enters what the application got as promised, and as what may be gone from the device."""

    def __init__(self, journal: Journal, count: Count) -> None:
        super().__init__()
        self._journal, self._count = journal, count
        self.counts_before = deque([0], maxlen=20)
        """What the count was in the last half second: an acknowledgement may have been earlier."""

    def take(self, topic: str, payload: bytes) -> None:
        super().take(topic, payload)
        now, before = self._count(), self.counts_before[0]
        if topic.endswith("/image"):
            self._journal.promises.append(Deleted(before, (), (topic.split("/")[-2],)))
        elif topic.endswith("/sighting"):
            one = msgspec.json.decode(payload, type=Sighting)
            self._journal.promises.append(Appended(now, now, {one.id: one.seq}))
            self._journal.promises.append(Deleted(before, (one.id,)))


def program(disk: Path, folder: Path, count: Count, random: Random, length: float) -> Journal:
    """Run `wheatear run` with a camera and a broker, which is away for a part of the time."""
    journal = Journal()
    ledger = _Delivered(journal, count)
    with (
        Broker(folder) as broker,
        Application(broker.port, ledger) as application,
        Proxy(broker.port) as network,
    ):
        rate = random.choice((4, 20, 60))
        device = Device(disk / "device", network.port, rate, more="[images]\nsend = true\n")
        device.log = folder / "device.log"
        os.sync()
        with device.running(kill=True):
            if not application.more():
                raise RuntimeError(f"nothing came in 30 s: {device.said()}")
            journal.opened = count()
            for refused in (False, True, False):
                network.refuse() if refused else network.forward()
                _watch(device.outbox, journal, ledger, count, 3 * length)
            journal.ended = count()
    return journal


def _watch(path: Path, journal: Journal, ledger: _Delivered, count: Count, seconds: float) -> None:
    """Enter what shows in the database, once a later commit shows: it was synced before that."""
    deadline, last = time.monotonic() + seconds, 0
    numbers, pictures = dict[str, int](), list[str]()
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, sqlite3.Error), beside(path) as database:
            rows = database.execute(
                "SELECT row, kind, topic, payload FROM message WHERE row > ? ORDER BY row", (last,)
            ).fetchall()
            now = count()
            if rows and (numbers or pictures):
                journal.promises.append(Appended(now, now, numbers, tuple(pictures)))
                numbers, pictures = {}, []
            for row, kind, topic, payload in rows:
                last = row
                if kind == Kind.SIGHTING:
                    one = msgspec.json.decode(unpack(payload), type=Sighting)
                    numbers[one.id] = one.seq
                elif kind == Kind.IMAGE:
                    pictures.append(topic.split("/")[1])
        ledger.counts_before.append(count())
        time.sleep(0.025)


def models(disk: Path, folder: Path, count: Count, random: Random, length: float) -> Journal:
    """Install bundles into a store, confirm some of them, and go back from the others."""
    journal = Journal()
    device = Device(disk / "device", 1883)
    text = device.config.read_text("utf-8").replace("[camera]", _STORE)
    device.config.write_text(text)
    config = ChangedConfiguration(device.config).load()
    assert config.model.store is not None
    store = Store(config.model.store, 3, 200_000_000)
    os.sync()
    journal.promises.append(Became(count(), "None"))
    journal.opened = count()
    for version in range(2, 2 + max(3, int(14 * length))):
        file = bundle(folder / "next.wtr", str(version))
        with store.installing(), file.open("rb") as opened:
            found = install(store, config.model, bring(store, opened))
        journal.promises.append(Became(count(), str(found.id)))
        for _ in range(random.randint(0, 2)):  # starts on probation, counted before each
            begin(store, 3, SystemClock())
        if random.random() < 0.3:
            back = roll_back(store, "tried", START)
            journal.promises.append(Became(count(), str(back.current)))
        else:
            store.change(lambda record: msgspec.structs.replace(record, probation=None))
            journal.promises.append(Became(count(), str(found.id)))
    journal.ended = count()
    return journal


_STORE = 'store = "models"\n[model.update]\nunsigned = true\nkeep = 3\n[camera]'


def settings(disk: Path, _: Path, count: Count, random: Random, length: float) -> Journal:
    """Change settings, confirm some of the changes and take the others back."""
    journal = Journal()
    device = Device(disk / "device", 1883)
    changes = ChangedConfiguration(device.config)
    before = str(changes.load().decision.agreeing_frames)
    os.sync()
    journal.promises.append(Became(count(), before))
    journal.opened = count()
    for _turn in range(max(3, int(60 * length))):
        agree = random.choice([one for one in (1, 2, 3, 4) if str(one) != before])
        changes.change(
            changes.revision(), {"decision.agreeing_frames": agree, "decision.last_frames": 5}, None
        )
        journal.promises.append(Became(count(), str(agree)))
        if random.random() < 0.3:
            changes.take_back("tried")
            journal.promises.append(Became(count(), before))
        else:
            changes.confirm()
            before = str(agree)
        changes.load()
    journal.ended = count()
    return journal


def salvage(disk: Path, folder: Path, count: Count, random: Random, length: float) -> Journal:
    """Open a damaged outbox, whose messages go into a new file, and append to it."""
    journal, path = Journal(), disk / "outbox.db"
    with Outbox(path) as box:
        for turn in range(int(60 * length) + 10):
            some = [message(10 * turn + n, random) for n in range(10)]
            box.append_many([one for one in some if isinstance(one, Sighting)])
        highest = box.append(_SIGHTING)  # type: ignore[arg-type]
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096 * random.randrange(2, size // 4096))
        file.write(b"\xa5" * 4096)
    os.sync()
    dry = folder / "dry"
    shutil.copytree(disk, dry, ignore=shutil.ignore_patterns("lost+found"))
    Outbox(dry / "outbox.db").close()
    numbers = {one["id"]: one["seq"] for one in messages(dry / "outbox.db").sightings}
    journal.opened = count()
    # The highest number counts, although its message may be lost with its page.
    journal.promises.append(Appended(0, 0, {**numbers, "highest": highest}))
    journal.promises.append(Deleted(0, ("highest",)))
    with Outbox(path) as box:
        for turn in range(6):
            some = [message(90_000 + 3 * turn + n, random) for n in range(3)]
            append(journal, box, some, count)
    subprocess.run(["sync", "-f", disk], check=True)
    journal.ended = count()
    return journal


LOADS: dict[str, Load] = {
    "outbox": outbox,
    "program": program,
    "models": models,
    "settings": settings,
    "salvage": salvage,
}
