"""What ``python -m quantize run`` is asked for: here alone an option is written down."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from edge.errors import QuantizeError

#: Passes over the training photos, where nothing else is asked for ...
QAT_EPOCHS, PRUNING_EPOCHS = 5, 7
#: ... and the fewest steps: with few photos a pass is soon over, weights need their steps anyway.
QAT_STEPS, PRUNING_STEPS = 200, 300
#: The same for clustering.
CLUSTER_EPOCHS, CLUSTER_STEPS = 7, 300
#: The same for taking out channels, in all its rounds.
NARROW_EPOCHS, NARROW_STEPS = 15, 450
#: Rounding needs small corrections, half of the weights gone larger ones.
QAT_RATE, PRUNING_RATE = 5e-5, 5e-4

Io = Literal["int8", "uint8"]
Kind = Literal["macs", "latency", "ms", "bytes"]

#: What each kind is called and takes.
KINDS: dict[Kind, str] = {
    "macs": "a share of the multiply-adds, as macs=0.5",
    "latency": "a share of the unpruned int8 model's time, as latency=0.5",
    "ms": "milliseconds for one picture, one thread, as ms=8",
    "bytes": "bytes of the zipped model, as bytes=300kB",
}
#: Those that hold for one machine: this one, or that of --on.
TIMED: tuple[Kind, ...] = ("latency", "ms")
_UNITS = {"": 1, "B": 1, "kB": 1000, "MB": 1_000_000, "KiB": 1024, "MiB": 1 << 20}


class Budget(NamedTuple):
    """What a model may cost at most."""

    kind: Kind
    most: float

    def __str__(self) -> str:
        """As on the command line."""
        return f"{self.kind}={self.most:g}"


def parse_budget(text: str) -> Budget:
    """Read "macs=0.5", "latency=0.5", "ms=8" or "bytes=300kB".

    Raises:
        QuantizeError: another kind, no number, or a value out of range.
    """
    kind, equals, value = text.partition("=")
    match = re.fullmatch(r"\s*([0-9.eE+-]+?)\s*([A-Za-z]*)\s*", value)
    known = kind in KINDS and bool(equals) and match is not None
    unit = match[2] if match else ""
    if not known or unit not in (_UNITS if kind == "bytes" else ("", "ms") if kind == "ms" else ""):
        raise QuantizeError(f"--budget {text}: give " + ", or ".join(KINDS.values()))
    try:
        most = float(match[1]) * (_UNITS[unit] if kind == "bytes" else 1)  # type: ignore[index]
    except ValueError as error:
        raise QuantizeError(f"--budget {text}: {value!r} is not a number") from error
    if not most > 0 or (kind in ("macs", "latency") and most >= 1):
        limits = "a share above 0 and below 1" if kind in ("macs", "latency") else "more than 0"
        raise QuantizeError(f"--budget {text}: give {limits}")
    if kind == "bytes" and most <= 1:
        raise QuantizeError(f"--budget {text}: bytes are an amount, not a share; give bytes=300kB")
    return Budget(kind, most)  # type: ignore[arg-type]  # held against KINDS above


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate lets through."""

    tolerance: float = 0.01
    """Accuracy (0..1) that may be lost beyond what the paired 95 % interval explains."""
    min_agreement: float = 0.95
    """Least share of photos on which int8 and the float model it was quantized from agree."""


class About(NamedTuple):
    """What is said of an option, and the numbers that it takes, if it takes any."""

    help: str
    low: float = -math.inf
    high: float = math.inf
    without: float | None = None
    """A number that it does not take all the same."""

    def takes(self, value: float) -> bool:
        """Whether a number is one of those."""
        return self.low <= value <= self.high and value != self.without


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. The command line has an option for each field, by its name."""

    method: Annotated[
        Literal["qat", "ptq"],
        About("qat (fitted to its rounding, trained if needed) or ptq (ranges)."),
    ] = "qat"
    budget: Annotated[
        str, About("What the model may cost: macs=0.5, latency=0.5, ms=8 or bytes=300kB.")
    ] = ""
    pruning: Annotated[
        float | None,
        About(
            "Share of weights to zero, 0 to 0.95; default: none, with 2:4 one half.",
            low=0,
            high=0.95,
        ),
    ] = None
    pruning_schedule: Annotated[
        Literal["", "constant", "polynomial"],
        About("polynomial (default): zeros rise; constant: all from the start."),
    ] = ""
    pruning_pattern: Annotated[
        Literal["free", "2:4"], About("free, or 2:4: two zeros in four neighbours.")
    ] = "free"
    clusters: Annotated[int, About("Different weights in a layer, 2 to 128; 0: any number.")] = 0
    resolution: Annotated[
        int | None, About("Side of a smaller input, pixels; default: as the budget needs it.")
    ] = None
    on: Annotated[str, About("Machine that budgets are timed on by SSH: pi@cam-07.local:2222.")] = (
        ""
    )
    on_command: Annotated[
        str, About("What starts wheatear there; default: PATH, /opt/wheatear/bin.")
    ] = ""
    io: Annotated[Io, About("Type of input and output: int8 or uint8.")] = "int8"
    epochs: Annotated[
        int | None,
        About(
            f"Of quantization-aware training; default: {QAT_EPOCHS}, more with few photos, none "
            "where rounding costs next to nothing.",
            low=0,
            high=500,
        ),
    ] = None
    pruning_epochs: Annotated[
        int | None,
        About(
            f"Of pruning, clustering (default: {PRUNING_EPOCHS}) or a smaller network "
            f"({NARROW_EPOCHS}), more with few photos.",
            low=1,
            high=500,
        ),
    ] = None
    learning_rate: Annotated[
        float, About("Of quantization-aware training, at its peak.", low=0, high=1, without=0)
    ] = QAT_RATE
    pruning_learning_rate: Annotated[
        float, About("Of pruning, clustering or a smaller network.", low=0, high=1, without=0)
    ] = PRUNING_RATE
    batch: Annotated[int, About("Photos per step.", low=1, high=1024)] = 32
    tolerance: Annotated[
        float, About("Accuracy (0..1) that may be lost beyond chance.", low=0, high=1)
    ] = Limits().tolerance
    min_agreement: Annotated[
        float, About("Least share of photos answered as before rounding.", low=0, high=1)
    ] = Limits().min_agreement

    @property
    def zeros(self) -> float:
        """Share of the convolution and dense weights that become zero."""
        return (
            (0.5 if self.pruning_pattern == "2:4" else 0.0)
            if self.pruning is None
            else self.pruning
        )

    @property
    def shaped(self) -> bool:
        """Whether another float network than the run's own is rounded."""
        return bool(self.budget or self.resolution or self.zeros or self.clusters)

    @property
    def limits(self) -> Limits:
        """What the gate lets through."""
        return Limits(tolerance=self.tolerance, min_agreement=self.min_agreement)

    @property
    def timed(self) -> bool:
        """Whether the model is shaped by times, which are those of one machine."""
        return bool(self.budget) and parse_budget(self.budget).kind in TIMED

    def words(self) -> tuple[str, ...]:
        """As on the command line; what is as always is left out."""
        usual = Options()
        return tuple(
            word
            for name, option in command_line().items()
            if (value := getattr(self, name)) != getattr(usual, name)
            for word in (option.flag, str(value))
        )

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with what does."""
        for name, option in command_line().items():
            value = getattr(self, name)
            if not option.takes(value):
                raise QuantizeError(f"{option.flag} {value}: give {option.allowed}")
        if self.budget:
            parse_budget(self.budget)
        self._check_together()

    def _check_together(self) -> None:
        least = 3 if self.zeros else 2
        if self.clusters and not least <= self.clusters <= 128:
            one = " (zero is one of them)" if self.zeros else ""
            raise QuantizeError(f"--clusters {self.clusters}: give {least} to 128{one}")
        if self.on and not self.budget:
            raise QuantizeError(f"--on {self.on}: only budgets are timed; give --budget too")
        schedule = self.pruning_schedule
        if self.pruning_pattern == "2:4":
            if self.zeros != 0.5:
                raise QuantizeError(
                    f"--pruning {self.zeros:g} with --pruning-pattern 2:4, which is one half: "
                    "give 0.5 or leave it out"
                )
            if schedule == "polynomial":
                raise QuantizeError(
                    "--pruning-schedule polynomial with --pruning-pattern 2:4, which TFMOT sets at "
                    "once: give constant or leave it out"
                )
        if schedule and not self.zeros:
            raise QuantizeError(f"--pruning-schedule {schedule} without --pruning: give a share")


class Option(NamedTuple):
    """A field as the command line has it."""

    flag: str
    about: About
    words: tuple[str, ...] = ()
    """The only ones that it takes."""

    def takes(self, value: Any) -> bool:  # noqa: ANN401
        """Whether it takes a value."""
        if self.words:
            return value in self.words
        return isinstance(value, str | None) or self.about.takes(value)

    @property
    def allowed(self) -> str:
        """What it takes, in words."""
        about = self.about
        but = "" if about.without is None else f", without {about.without:g}"
        return " or ".join(filter(None, self.words)) or f"{about.low:g} to {about.high:g}{but}"


@cache
def command_line() -> dict[str, Option]:
    """The options by the names of their fields."""
    found = {}
    for name, hint in get_type_hints(Options, include_extras=True).items():
        kind, about = get_args(hint)
        words = get_args(kind) if get_origin(kind) is Literal else ()
        flag = "--" + name.replace("_", "-")
        found[name] = Option(flag, about, words)
    return found
