"""What tests of quantization ask for, and who writes down what it does."""

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from quantize.commands.inspect import show
from quantize.commands.run import quantize_run
from quantize.options import Options
from quantize.workbench import Watcher


def asked(**changes: Any) -> Options:
    """Options at a learning rate for a net from scratch."""
    values: dict[str, Any] = {
        "pruning": 0.5,
        "epochs": 6,
        "pruning_epochs": 10,
        "learning_rate": 2e-3,
        "pruning_learning_rate": 2e-3,
        "batch": 12,
    }
    return Options(**(values | changes))


def quantized(
    run: Path,
    out: Path,
    key: Path | None = None,
    unknown: Sequence[Path] = (),
    teachers: Sequence[Path] = (),
    **changes: Any,
) -> str:
    """Do it and return what was printed."""
    stream = io.StringIO()
    console = Console(file=stream, width=140)
    given = asked(**changes)
    quantize_run(
        run,
        out,
        given,
        key,
        version="1.0.0",
        unknown=unknown,
        teachers=teachers,
        console=console,
    )
    return stream.getvalue()


def inspected(bundle: Path, key: Path | None = None) -> str:
    """What `inspect` prints."""
    stream = io.StringIO()
    show(bundle, key, Console(file=stream, width=120))
    return stream.getvalue()


def fresh_copy(trained: Path, folder: Path) -> Path:
    """The run without anything that quantization left in it."""
    copy = shutil.copytree(trained, folder / "run")
    shutil.rmtree(copy / "quantize", ignore_errors=True)
    return copy


class Stopped(Exception):
    """A kill in the middle."""


class Recorder(Watcher):
    """Writes down what a pipeline does; stops in a phase, at a step, if asked to."""

    def __init__(self, stop_in: str = "", at: int = 1) -> None:
        self.phases, self.lines, self._stop_in, self._at = list[str](), list[str](), stop_in, at
        self.notes: dict[str, list[str]] = {}

    def phase(self, name: str, steps: int) -> None:
        """Note the phase."""
        self.phases.append(name)
        self.notes[name] = []
        assert steps > 0

    def advance(self, steps: int, note: str = "") -> None:
        """Note it; stop where asked to."""
        assert steps >= 0
        notes = self.notes[self.phases[-1]]
        notes.append(note)
        if self._stop_in and self.phases[-1].startswith(self._stop_in) and len(notes) == self._at:
            raise Stopped(note)

    def say(self, text: str) -> None:
        """Note the line."""
        self.lines.append(text)
