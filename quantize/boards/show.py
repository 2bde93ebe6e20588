"""`python -m quantize estimate`: the report on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from quantize.boards.estimate import THREADS
from quantize.boards.report import Estimates, Row, Time, build


def show(
    path: Path, measured: Sequence[str] = (), as_json: bool = False, console: Console | None = None
) -> None:
    """Print what a bundle takes on the boards.

    Raises:
        BundleError: the bundle is refused.
        QuantizeError: a measured result does not belong to it.
    """
    console = console or Console()
    report = build(path, measured)
    if as_json:
        console.print_json(msgspec.json.encode(report).decode())
        return
    console.print(table(report))
    notes: dict[str, list[str]] = {}
    for row in report.boards:
        for note in row.notes:
            notes.setdefault(note, []).append(row.name)
    for note, names in notes.items():
        console.print(f"{', '.join(names)}: {note}", highlight=False, soft_wrap=True)
    console.print(report.about, highlight=False, soft_wrap=True)
    for source in report.sources.values():
        console.print(f"  {source.title} ({source.date})", highlight=False, soft_wrap=True)


def table(report: Estimates) -> Table:
    """A row a board; ≈ marks what is estimated."""
    shown = Table(title=f"{report.name} {report.version}: estimate", title_justify="left")
    shown.add_column("board", no_wrap=True)
    for heading in (
        *(f"{threads} thread{'s' * (threads > 1)},\nms" for threads in THREADS),
        "held-out\nerror\n(worst)",
        "memory,\nMB",
    ):
        shown.add_column(heading, justify="right")
    for row in report.boards:
        shown.add_row(*_cells(row))
    return shown


def _cells(row: Row) -> list[str]:
    by_threads = {time.threads: time for time in row.times}
    sign = "≈ " if row.memory.basis == "estimate" else ""
    held = row.held_out
    return [
        row.name,
        *(_time(by_threads[threads]) for threads in THREADS),
        f"{held.median:.0%} ({held.worst:.0%})",
        f"{sign}{row.memory.bytes / 1e6:.0f} of {row.memory.board / 1e6:.0f}",
    ]


def _time(time: Time) -> str:
    if time.range is None:
        return f"{time.milliseconds:.3g} measured"
    low, high = time.range
    return f"≈ {short(time.milliseconds)} ({short(low)}–{short(high)})"


def short(number: float) -> str:
    """Two digits that count, and no exponent."""
    return f"{float(f'{number:.2g}'):,g}"
