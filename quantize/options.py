"""What ``python -m quantize run`` is asked for."""

from __future__ import annotations

from typing import Literal

import msgspec

from edge.errors import QuantizeError
from quantize.compress.channels.search import TIMED, parse
from quantize.int8.convert import Io
from quantize.parity.compare import Limits

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
    """What the model may cost, as "macs=0.5" (see `quantize.compress.channels.search`); empty: no
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
        return bool(self.budget) and parse(self.budget).kind in TIMED

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
            parse(self.budget)
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
