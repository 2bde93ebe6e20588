"""Holds what is on a disk after a power cut against what was promised before it."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import msgspec

from edge.device.config_changes import ChangedConfiguration
from edge.errors import WheatearError
from edge.messages.examples import EXAMPLES
from edge.messages.sighting import Sighting
from edge.outbox.outbox import Outbox
from edge.outbox.rows import Kind, Row
from edge.updates.record import read
from edge.updates.store import bundle_path
from soak.control import Found, messages
from soak.damage import all_rows
from soak.promises import Due, Journal


class Verdict(msgspec.Struct):
    """What was found after one cut."""

    counts: Counter[str] = msgspec.field(default_factory=Counter)
    problems: list[str] = []
    gap: int = 0
    """Numbers that were left out by the first sighting after it."""

    def wrong(self, what: str, said: str) -> None:
        """Count a broken promise, and say which."""
        self.counts[what] += 1
        self.problems.append(said)


def judge(load: str, disk: Path, journal: Journal, after: int, lying: bool) -> Verdict:
    """Judge a copy of the disk, cut after `after` requests; it is changed by that.

    A disk that lies may lose what it acknowledged: then only numbers and order are judged.
    """
    verdict = Verdict()
    place = disk if load in ("outbox", "salvage") else disk / "device"
    if load in ("models", "settings"):
        _states(load, place, journal.states(after), verdict, lying)
    else:
        _outbox(place, journal.due(after), verdict, lying, damaged=load == "salvage")
    return verdict


def _outbox(place: Path, due: Due, verdict: Verdict, lying: bool, damaged: bool) -> None:
    control = _control(place, due, verdict, lying or damaged)
    path = place / "outbox.db"
    try:
        with Outbox(path) as box:
            rows = all_rows(box)
            number = box.append(EXAMPLES["Sighting"])  # type: ignore[arg-type]
            last = msgspec.json.decode(all_rows(box)[-1].payload)
    except Exception as error:  # whatever it was, it is what the device would end with
        verdict.wrong("unopened", f"it does not open: {error!r}")
        return
    sightings = [row.payload for row in rows if row.kind is Kind.SIGHTING]
    found = [msgspec.json.decode(payload, type=Sighting) for payload in sightings]
    if not lying:
        _complete(rows, found, due, verdict)
    numbers = [one.seq for one in found]
    if numbers != sorted(set(numbers)):
        verdict.wrong("out of order", f"numbers come in another order: {numbers[:20]}")
    if number <= max(due.highest, *numbers, 0):
        verdict.wrong("used twice", f"{number} is given, {due.highest} was the highest before")
    verdict.gap = max(0, number - 1 - max(due.highest + due.under_way, *numbers, 0))
    known = max(control.next_number if control else number, due.highest + 1)
    # A message that stands behind a gap in the log is saved too.
    if number - last["skipped"] > max(known, max(numbers, default=0) + 1):
        verdict.wrong("untold gaps", f"{number} says that {last['skipped']} are left out")
    aside = [one.name for one in place.iterdir() if ".damaged-" in one.name]
    if aside and control and control.sound and not damaged:
        verdict.wrong("set aside", f"SQLite finds nothing wrong with {aside[0]}")


def _complete(rows: list[Row], found: list[Sighting], due: Due, verdict: Verdict) -> None:
    """See that all is there, under the numbers that were given."""
    have = {one.id: one.seq for one in found}
    pictures = {row.topic.split("/")[1] for row in rows if row.kind is Kind.IMAGE}
    lost = sorted(due.sightings.keys() - have.keys())
    if lost or due.pictures - pictures:
        few = ", ".join(f"{id} ({due.sightings[id]})" for id in lost[:3])
        more = len(due.pictures - pictures)
        verdict.wrong("lost", f"{len(lost)} sightings and {more} pictures are lost: {few}")
    altered = [id for id in have if due.known.get(id, have[id]) != have[id]]
    if altered:
        verdict.wrong("used twice", f"{altered[0]} has another number than before")


def _control(place: Path, due: Due, verdict: Verdict, lying: bool) -> Found | None:
    """Judge a copy as plain SQLite opens it."""
    copy = place.with_name(f"{place.name}.control")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(place, copy, ignore=shutil.ignore_patterns("*-shm", "photos"))
    try:
        found = messages(copy / "outbox.db")
    except (sqlite3.Error, TypeError):  # no file, or one without tables
        verdict.counts["control not ok"] += not lying
        return None
    finally:
        shutil.rmtree(copy)
    verdict.counts["control not ok"] += not found.sound and not lying
    missing = due.sightings.keys() - {one.get("id") for one in found.sightings}
    if not lying and (missing or due.pictures - found.pictures):
        verdict.counts["control lost"] += 1
    if found.next_number <= due.highest:
        verdict.counts["control used twice"] += 1
    return found


def _states(load: str, place: Path, allowed: set[str], verdict: Verdict, lying: bool) -> None:
    """See that a file is what it was or what it was to become, and that all of it is there."""
    try:
        if load == "settings":
            state = str(ChangedConfiguration(place / "config.toml").peek().decision.agreeing_frames)
        else:
            state = _model(place / "models", verdict)
    except (WheatearError, OSError, json.JSONDecodeError) as error:
        verdict.wrong("unopened", f"it does not open: {error!r}")
        return
    if state not in allowed and not lying:
        verdict.wrong("lost", f"it is {state}, and may be {' or '.join(sorted(allowed))}")


def _model(folder: Path, verdict: Verdict) -> str:
    record = read(folder / "models.json")
    for model in {record.current, record.previous} - {None}:
        assert model is not None
        content = bundle_path(folder, model).read_bytes()
        if hashlib.sha256(content).hexdigest() != record.models[model].sha256:
            verdict.wrong("half", f"the bundle of {model} is not whole")
    return str(record.current)
