"""What ``python -m quantize sweep`` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from edge.errors import QuantizeError
from quantize.commands.bar import Bar
from quantize.sweep import points, report, trials
from quantize.sweep.asked import SweepOptions
from quantize.sweep.jobs import Engine
from quantize.timing.open import open_timer
from training.runs import load_run


def quantize_sweep(
    runs: Sequence[Path],
    folder: Path,
    asked: SweepOptions,
    engine: Engine,
    console: Console | None = None,
) -> None:
    """Carry out the trials that are missing, measure all, write the report.

    Args:
        runs: finished runs; several: seeds.
        folder: for trials and report.
        asked: what is tried.
        engine: where trials run.
        console: to print on.

    Raises:
        QuantizeError: an unknown variant, an unfinished run, an engine that can run nothing, a
            machine to time on that cannot be used, or no trial gave a model.
    """
    console = console or Console()
    for run in runs:
        load_run(run)  # raises with the cure
    planned = trials.plan(runs, folder, asked)

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    with open_timer(asked.on, asked.on_command, say) as timer:
        with Bar(console) as bar:
            failures = trials.carry_out(planned, engine, bar)
        say(f"timing all models on {timer.where}, one thread, in turn")
        found = points.measure(planned, timer)
        where = timer.where
    if not found:
        raise QuantizeError(f"no trial gave a model: {failures[0].reason}")
    said = list(filter(None, (report.chosen(found, asked.budget), *report.words(found))))
    page = report.write(folder, found, failures, where, said)
    shown = Table(title="what compression bought", title_justify="left")
    for column in report.COLUMNS:
        shown.add_column(column, justify="left" if column == "variant" else "right")
    for row in report.rows(found):
        shown.add_row(*row)
    console.print(shown)
    for line in said:
        say(line)
    say(f"report: {page}")
