"""Bars on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import TextColumn, TimeElapsedColumn

from quantize.workbench import Watcher
from training.console import PhaseBars


class Bar(PhaseBars, Watcher):
    """A bar per phase, with a note behind it."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, TimeElapsedColumn(), TextColumn("{task.fields[note]}"))

    def phase(self, name: str, steps: int) -> None:
        """A phase of so many steps begins; a log, where no bar moves, gets a line."""
        if not self.bars.console.is_terminal:
            self.say(name if steps == 1 else f"{name}, {steps} steps")
        self.task = self.bars.add_task(name, total=steps, note="")

    def advance(self, steps: int, note: str = "") -> None:
        """Some steps of the phase are done."""
        if note:
            self.bars.update(self.task, note=note)
        self.bars.advance(self.task, steps)
