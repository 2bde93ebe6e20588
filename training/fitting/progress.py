"""What a person sees while a model trains: bars on the terminal, curves in TensorBoard."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import TimeRemainingColumn

from training.console import PhaseBars
from training.fitting.train import FitWatcher, Row
from training.tf import tf

_TITLES = {
    "decode": "decoding photos",
    "probe": "fitting the linear probe",
    "head": "fitting the head",
    "teachers": "asking the teachers",
    "all": "training all layers",
}


class Progress(PhaseBars, FitWatcher):
    """A bar per phase, a line per judgement and TensorBoard scalars; use it as a context."""

    def __init__(self, console: Console, tensorboard: Path) -> None:
        super().__init__(console, TimeRemainingColumn())
        self._number = -1
        self._writer = tf.summary.create_file_writer(str(tensorboard))

    def __exit__(self, *about: object) -> None:
        super().__exit__(*about)
        self._writer.close()

    def phase(self, name: str, steps: int, done: int = 0) -> None:
        """Begin a new bar."""
        self.task = self.bars.add_task(_TITLES[name], total=steps, completed=done)

    def advance(self, steps: int) -> None:
        """Move the bar."""
        self.bars.advance(self.task, steps)

    def epoch(self, row: Row) -> None:
        """Print a line and log every figure."""
        self._number += 1
        with self._writer.as_default(step=self._number):
            for name, value in row.items():
                tf.summary.scalar(name, value)
        self._writer.flush()
        train = f"train {row['train_accuracy']:6.1%}  " if "train_accuracy" in row else " " * 15
        name = f"epoch {row['epoch']:3.0f}" if row["member"] else "the head "
        name = f"member {row['member']:.0f} {name}" if row["member"] > 1 else name
        self.say(
            f"{name}  {train}"
            f"val {row['val_accuracy']:6.1%}  macro-F1 {row['val_macro_f1']:.3f}  "
            f"loss {row['val_loss']:.3f}  {row['seconds']:.0f} s"
        )
