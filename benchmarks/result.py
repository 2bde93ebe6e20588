"""What a benchmark found: both sides, their spread, the ratio and whether the target is met."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Repeats of one measurement, in the order they were taken, and their summary."""

    minimum: float
    median: float
    mean: float
    maximum: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Series:
        """Summarise at least one value."""
        kept = tuple(float(value) for value in values)
        return cls(
            minimum=min(kept),
            median=statistics.median(kept),
            mean=statistics.fmean(kept),
            maximum=max(kept),
            values=kept,
        )


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure: ours, the other side where there is one, and the target."""

    name: str
    unit: str
    ours_name: str
    ours: Series | None
    theirs_name: str = ""
    theirs: Series | None = None
    ratio: Series | None = None
    """Ours divided by theirs, pair by pair; None where there is no other side."""
    at_least: float | None = None
    at_most: float | None = None
    """The target, for the ratio where there is another side, else for our own value."""
    by: Literal["median", "mean"] = "median"
    """Which summary counts: the mean over training seeds, else the median over repeats."""
    note: str = ""

    @property
    def value(self) -> float | None:
        """The number that the target is about."""
        subject = self.ratio if self.theirs_name else self.ours
        if subject is None:
            return None
        return subject.mean if self.by == "mean" else subject.median

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is no target or nothing was measured."""
        if self.value is None or (self.at_least is None and self.at_most is None):
            return None
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of one benchmark, with the circumstances they were taken in."""

    name: str
    what: str
    figures: tuple[Figure, ...]
    conditions: dict[str, str] = {}
    inputs: str = ""
    """SHA-256 over what the figures depend on: sources, material, options, package versions."""
    seconds: float = 0.0


def pair(
    name: str,
    unit: str,
    ours: tuple[str, Sequence[float]],
    theirs: tuple[str, Sequence[float]],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Figure:
    """Compare two interleaved series; an empty one means that this side could not be measured."""
    values = [a / b for a, b in zip(ours[1], theirs[1], strict=False) if b]
    return msgspec.structs.replace(
        single(name, unit, ours, at_least=at_least, at_most=at_most, note=note),
        theirs_name=theirs[0],
        theirs=Series.of(theirs[1]) if theirs[1] else None,
        ratio=Series.of(values) if values else None,
    )


def single(
    name: str,
    unit: str,
    ours: tuple[str, Sequence[float]],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    by: Literal["median", "mean"] = "median",
    note: str = "",
) -> Figure:
    """Report a figure that has no other side."""
    return Figure(
        name=name,
        unit=unit,
        ours_name=ours[0],
        ours=Series.of(ours[1]) if ours[1] else None,
        at_least=at_least,
        at_most=at_most,
        by=by,
        note=note,
    )


def in_turn(
    ours: tuple[str, Callable[[], None]],
    theirs: tuple[str, Callable[[], None]],
    rounds: int,
    calls: int,
) -> tuple[tuple[str, list[float]], tuple[str, list[float]]]:
    """Time both in turn, call by call; give the median milliseconds of each round."""
    values: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(calls):
            for (_, call), kept in zip((ours, theirs), times, strict=True):
                start = time.perf_counter()
                call()
                kept.append(time.perf_counter() - start)
        for series, kept in zip(values, times, strict=True):
            series.append(statistics.median(kept) * 1e3)
    return (ours[0], values[0]), (theirs[0], values[1])
