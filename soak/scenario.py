"""What a scenario is: rounds with a seed each, which count things and name what went wrong."""

from __future__ import annotations

import contextlib
import importlib
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, cast

import msgspec

SCENARIOS = (
    "kills",
    "outages",
    "week",
    "disk",
    "readonly",
    "powercuts",
    "damage",
    "recovery",
    "clock",
    "camera",
    "fuzz",
)
"""Modules of this package, in the order in which they are run."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line chose."""

    seed: int = 0
    """Another one, other faults: random numbers come from it, the scenario and the round."""
    kills: int = 1000
    """Times that the device program is killed."""
    outages: int = 120
    """Faults of the broker and of the network before it."""
    patience: float = 1.0
    """Factor on how long a fault lasts."""
    events: int = 100_800
    """Sightings during the outage of a week: one every six seconds."""
    disks: int = 20
    """Disks filled while the device runs."""
    readonly: int = 20
    """Disks made read-only while the device runs."""
    cuts: int = 10_000
    """Power cuts, shared by file systems and loads."""
    damages: int = 500
    """Databases that are damaged."""
    recoveries: int = 300
    """Databases that are opened in three ways, after power cuts and damage."""
    clocks: int = 20
    """Stretches of hours in which the clock jumps ten times."""
    pulls: int = 50
    """Times that the camera's folder vanishes."""
    inputs: int = 1_000_000
    """Inputs made of nonsense."""
    rate: float = 300.0
    """Frames per second of the device."""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What one round counted; nothing in ``problems`` means that all was as promised."""

    counts: dict[str, int] = {}
    """Added up over the rounds."""
    largest: dict[str, float] = {}
    """The largest of the rounds counts; the unit is in the name."""
    problems: tuple[str, ...] = ()


class Scenario(Protocol):
    """A module of this package. Its docstring's first line says what it shows."""

    rounds: Callable[[Options], int]
    """How many rounds the options ask for."""
    play: Callable[[int, Path, Options], Round]
    """Play one round in an empty folder."""


def load(name: str) -> Scenario:
    """Load the scenario of this name."""
    return cast(Scenario, importlib.import_module(f"soak.{name}"))


def chance(options: Options, name: str, number: int) -> random.Random:
    """The random numbers of one round: the same for the same options."""
    return random.Random(f"{options.seed}/{name}/{number}")


def until(condition: Callable[[], object], seconds: float = 30.0, pause: float = 0.05) -> bool:
    """Look again and again until a condition is met; False where it is not in time."""
    deadline = time.monotonic() + seconds
    while not (met := bool(condition())) and time.monotonic() < deadline:
        time.sleep(pause)
    return met


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what the program says of faults on purpose out of the output."""
    logger = logging.getLogger("edge")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def together(rounds: Sequence[Round]) -> Round:
    """Add rounds up."""
    counts: dict[str, int] = {}
    largest: dict[str, float] = {}
    for one in rounds:
        for name, count in one.counts.items():
            counts[name] = counts.get(name, 0) + count
        for name, value in one.largest.items():
            largest[name] = max(value, largest.get(name, value))
    problems = tuple(problem for one in rounds for problem in one.problems)
    return Round(counts=counts, largest=largest, problems=problems)
