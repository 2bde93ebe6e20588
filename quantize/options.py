"""What ``python -m quantize run`` is asked for."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

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
        raise QuantizeError(f"--budget {text}: {value!r} is no number") from error
    if not most > 0 or (kind in ("macs", "latency") and most >= 1):
        limits = "a share above 0 and below 1" if kind in ("macs", "latency") else "more than 0"
        raise QuantizeError(f"--budget {text}: give {limits}")
    if kind == "bytes" and most <= 1:
        raise QuantizeError(f"--budget {text}: bytes are counted, not a share; give bytes=300kB")
    return Budget(kind, most)  # type: ignore[arg-type]  # held against KINDS above


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate lets through."""

    tolerance: float = 0.01
    """Accuracy (0..1) that may be lost beyond what the paired 95 % interval explains."""
    min_agreement: float = 0.95
    """Least share of photos on which int8 and the float model it was quantized from agree."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for; everything but `io` and `limits` shapes the weights."""

    method: Literal["qat", "ptq"] = "qat"
    pruning: float = 0.0
    """Share of the convolution and dense weights that become zero, 0 to 0.95."""
    pruning_schedule: Literal["", "constant", "polynomial"] = ""
    """All zeros from the first step, or rising to them; empty: polynomial, constant for 2:4."""
    pruning_pattern: Literal["free", "2:4"] = "free"
    """Zeros anywhere, or two in every four neighbours along the input channels."""
    clusters: int = 0
    """Different values in each convolution and dense kernel, 2 to 128; 0: any number."""
    budget: str = ""
    """What the model may cost, as "macs=0.5" (see `parse_budget`); empty: no
    limit."""
    resolution: int | None = None
    """Side of the input, pixels; None: the run's own, or what a budget makes of it."""
    io: Io = "int8"
    epochs: int | None = None
    """Of quantization-aware training; None: QAT_EPOCHS, more where these are few steps, but only
    where rounding alone misses more than `rounding.ENOUGH`."""
    pruning_epochs: int | None = None
    """Before that; None: PRUNING_EPOCHS or NARROW_EPOCHS, more where these are few steps."""
    learning_rate: float = QAT_RATE
    """Peak, of quantization-aware training."""
    pruning_learning_rate: float = PRUNING_RATE
    """Peak, while pruning."""
    batch: int = 32
    limits: Limits = Limits()

    @property
    def timed(self) -> bool:
        """Whether the model is shaped by times, which are those of one machine."""
        return bool(self.budget) and parse_budget(self.budget).kind in TIMED

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with what does."""
        pruning_rate = self.pruning_learning_rate
        checks = {
            "--method": (self.method in ("qat", "ptq"), self.method, "qat or ptq"),
            "--io": (self.io in ("int8", "uint8"), self.io, "int8 or uint8"),
            "--pruning": (0 <= self.pruning <= 0.95, self.pruning, "0 to 0.95"),
            "--pruning-schedule": (
                self.pruning_schedule in ("", "constant", "polynomial"),
                self.pruning_schedule,
                "constant or polynomial",
            ),
            "--pruning-pattern": (
                self.pruning_pattern in ("free", "2:4"),
                self.pruning_pattern,
                "free or 2:4",
            ),
            "--clusters": (
                self.clusters == 0 or 2 + (self.pruning > 0) <= self.clusters <= 128,
                self.clusters,
                "3 to 128 (zero is one of them)" if self.pruning else "2 to 128",
            ),
            "--epochs": (0 <= (self.epochs or 0) <= 500, self.epochs, "0 to 500"),
            "--pruning-epochs": (
                self.pruning_epochs is None or 1 <= self.pruning_epochs <= 500,
                self.pruning_epochs,
                "1 to 500",
            ),
            "--learning-rate": (0 < self.learning_rate <= 1, self.learning_rate, "0 to 1"),
            "--pruning-learning-rate": (0 < pruning_rate <= 1, pruning_rate, "0 to 1"),
            "--batch": (1 <= self.batch <= 1024, self.batch, "1 to 1024"),
        }
        if self.budget:
            parse_budget(self.budget)
        for name, (good, value, allowed) in checks.items():
            if not good:
                raise QuantizeError(f"{name} {value}: give {allowed}")
        self._check_pruning()

    def _check_pruning(self) -> None:
        if self.pruning_pattern == "2:4":
            if self.pruning != 0.5:
                raise QuantizeError(
                    f"--pruning {self.pruning:g} with --pruning-pattern 2:4, which is one half: "
                    "give 0.5 or leave it out"
                )
            if self.pruning_schedule == "polynomial":
                raise QuantizeError(
                    "--pruning-schedule polynomial with --pruning-pattern 2:4, which TFMOT sets at "
                    "once: give constant or leave it out"
                )
        if self.pruning_schedule and not self.pruning:
            raise QuantizeError(
                f"--pruning-schedule {self.pruning_schedule} without --pruning: give a share"
            )
