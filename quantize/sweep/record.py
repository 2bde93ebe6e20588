"""What made a trial, on disk beside its bundle: `NAME.trial.json`.

Written before a trial begins and again when it has ended, so that the next sweep knows whether the
bundle is what it asks for, and the process at work whether it sees the same files.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import msgspec

from edge import __version__
from training.files import write_json
from training.runs import finished_model, package_versions

SCHEMA = 1
#: What every machine at work on trials must have.
SHARED = (
    "the sweep's folder, the runs and their photos must lie at the same path on every machine, on "
    "a file system that all share"
)
#: Seconds until another machine's files are given up: NFS remembers folders for 60 (nfs(5)).
PATIENCE = 75.0


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What decides how a trial comes out."""

    model: str
    """SHA-256 of the run's model file."""
    options: tuple[str, ...]
    """Of `quantize run`."""
    versions: dict[str, str]
    """Of Wheatear and of the packages that compute."""


class TrialRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Content of the file."""

    schema: int = SCHEMA
    facts: Facts
    ticket: str = ""
    """Drawn anew each time that a sweep begins the trial."""
    done: bool = False


def facts(run: Path, options: tuple[str, ...]) -> Facts:
    """What a trial of this run with these options comes from, as seen here and now.

    Raises:
        TrainingError: the run has no model yet.
    """
    return Facts(
        model=hashlib.sha256(finished_model(run).read_bytes()).hexdigest(),
        options=options,
        versions={
            "wheatear": __version__,
            "ai-edge-litert": version("ai-edge-litert"),
            **package_versions(),
        },
    )


def differences(before: Facts, now: Facts) -> str:
    """What is another in `now` than in `before`, in words; empty if nothing is."""
    found = [] if before.model == now.model else ["another model in the run"]
    if before.options != now.options:
        old, new = (" ".join(each.options) or "none" for each in (before, now))
        found.append(f"options {old} -> {new}")
    for name in sorted(before.versions.keys() | now.versions.keys()):
        old, new = (each.versions.get(name, "absent") for each in (before, now))
        if old != new:
            found.append(f"{name} {old} -> {new}")
    return "; ".join(found)


def read(path: Path) -> TrialRecord | None:
    """The record there, or None where there is none that this program understands."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=TrialRecord)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return record if record.schema == SCHEMA else None


def write(path: Path, record: TrialRecord) -> None:
    """Write it whole."""
    write_json(path, record)


def comes_true(condition: Callable[[], bool], patience: float) -> bool:
    """Wait so many seconds for what another machine wrote; whether it was seen."""
    end = time.monotonic() + patience
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.5)
    return true
