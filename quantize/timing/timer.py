"""How long int8 models take: one thread, in turn, on this machine or on the board they are for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from statistics import median
from typing import Self

from edge.model.runtimes import installed
from edge.model.timing import PICTURES, ROUNDS, Times, measure
from edge.system.board import board
from training.quiet import quiet

#: Flags of a Raspberry Pi's firmware that mean: slower than it would be, now.
_HELD_BACK = ("under-voltage", "frequency-capped", "throttled", "soft-temperature-limit")


def ignore(_text: str) -> None:
    """Show nothing."""


class Timer(ABC):
    """Times int8 models on one machine, which it can name; use it as a context."""

    name: str
    """As the user calls the machine: "this machine" or "pi@host"."""

    def __init__(self, name: str, say: Callable[[str], None] = ignore) -> None:
        """`say` is told what makes times doubtful."""
        self.name, self._say = name, say
        self._said: set[str] = set()

    @property
    @abstractmethod
    def board(self) -> str:
        """What the machine is and what runs the models, the same for the same machine."""

    @abstractmethod
    def _measure(self, models: Sequence[bytes], rounds: int) -> Times:
        """Time the models."""

    @property
    def where(self) -> str:
        """Name and kind of the machine, for people and as a part of names of results."""
        return f"{self.name} ({self.board})"

    def milliseconds(self, models: Sequence[bytes], rounds: int = ROUNDS) -> list[list[float]]:
        """Time of one `invoke` in milliseconds, by model and round, the rounds interleaved.

        Args:
            models: TFLite files with one input.
            rounds: how often each is measured, each time the mean of `PICTURES` pictures.

        Raises:
            WheatearError: a model cannot be run there, or the machine cannot be used.
        """
        found = self._measure(models, rounds)
        if held_back := [flag for flag in found.throttled or () if flag in _HELD_BACK]:
            self._say_once(
                f"{self.name} is held back ({', '.join(held_back)}): its times are longer than "
                "they need be. Give it better power or cooling, then repeat the command"
            )
        return [list(model.milliseconds) for model in found.models]

    def ratio(self, model: bytes, other: bytes, rounds: int = ROUNDS) -> float:
        """Time of `model` as a share of the time of `other`: the median over the rounds.

        Raises:
            WheatearError: as `milliseconds`.
        """
        ours, theirs = self.milliseconds([model, other], rounds)
        return float(median(a / b for a, b in zip(ours, theirs, strict=True)))

    @abstractmethod
    def close(self) -> None:
        """Let the machine go; a second call does nothing."""

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Local(Timer):
    """This machine."""

    def __init__(self, say: Callable[[str], None] = ignore) -> None:
        super().__init__("this machine", say)

    @cached_property
    def board(self) -> str:
        """What this machine is, and the interpreter."""
        return describe(str(board()), *installed("litert"))

    def _measure(self, models: Sequence[bytes], rounds: int) -> Times:
        with quiet():
            return measure(models, rounds, PICTURES)

    def close(self) -> None:
        """There is nothing to let go."""


def describe(machine: str, runtime: str, version: str) -> str:
    """What decides about times, in words."""
    return f"{machine}, {runtime} {version}"
