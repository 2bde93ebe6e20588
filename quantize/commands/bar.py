"""Bars on the terminal, and lines where there is none."""

from __future__ import annotations

from time import monotonic

from rich.console import Console
from rich.progress import ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from quantize.workbench import Watcher
from training.console import PhaseBars

#: Seconds between two lines of a phase where no bar moves.
QUIET = 60.0


class Rate(ProgressColumn):
    """How fast a phase goes, as "2.1/s" or "3.4 s each"."""

    def render(self, task: Task) -> Text:
        """Nothing before two steps are done."""
        return Text(rate(task), style="progress.data.speed")


def rate(task: Task) -> str:
    """The speed of a task in words; empty where it is not known."""
    speed = task.finished_speed or task.speed
    if not speed:
        return ""
    return f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each"


class Bar(PhaseBars, Watcher):
    """A bar per phase with its rate, the time left (spent, when it has ended) and a note."""

    def __init__(self, console: Console) -> None:
        columns = (Rate(), TimeRemainingColumn(elapsed_when_finished=True))
        super().__init__(console, *columns, TextColumn("{task.fields[note]}"))
        self._told = monotonic()

    def phase(self, name: str, steps: int) -> None:
        """A phase of so many steps begins; a log, where no bar moves, gets a line."""
        if not self.bars.console.is_terminal:
            self.say(name if steps == 1 else f"{name}, {steps} steps")
        self._told = monotonic()
        self.task = self.bars.add_task(name, total=steps, note="")

    def advance(self, steps: int, note: str = "") -> None:
        """Some steps of the phase are done; a log hears of it now and then."""
        if note:
            self.bars.update(self.task, note=note)
        self.bars.advance(self.task, steps)
        if not self.bars.console.is_terminal and monotonic() - self._told >= QUIET:
            self._told = monotonic()
            self.say(f"  {_state(self.bars.tasks[self.task])}")


def _state(task: Task) -> str:
    """Where a phase is, for a log."""
    left = task.time_remaining
    parts = [
        f"{task.completed:.0f} of {task.total:.0f}",
        rate(task),
        "" if left is None else f"{left:.0f} s left",
        str(task.fields["note"]),
    ]
    return ", ".join(filter(None, parts))
