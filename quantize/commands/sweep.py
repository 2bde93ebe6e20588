"""What ``python -m quantize sweep`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from edge.errors import QuantizeError
from quantize.commands.bar import Bar
from quantize.sweep import points, report, trials
from quantize.sweep.jobs import Engine
from quantize.timing.open import open_timer
from training.runs import load_run


def quantize_sweep(
    runs: Sequence[Path],
    folder: Path,
    variants: Sequence[str],
    engine: Engine,
    shared: Mapping[str, Any],
    on: str = "",
    on_command: str = "",
    console: Console | None = None,
) -> None:
    """Carry out the trials that are missing, measure all, write the report.

    Args:
        runs: finished runs; several: seeds.
        folder: for trials and report.
        variants: names; none: all.
        engine: where trials run.
        shared: further options of every trial, by field.
        on: machine to time on.
        on_command: what starts `wheatear` there.
        console: to print on.

    Raises:
        QuantizeError: an unknown variant, an unfinished run, an engine that can run nothing, a
            machine to time on that cannot be used, or no trial gave a model.
    """
    console = console or Console()
    for run in runs:
        load_run(run)  # raises with the cure
    timing = {"on": on, "on_command": on_command}
    planned = trials.plan(runs, variants or trials.VARIANTS, folder, shared, timing)

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    with open_timer(on, on_command, say) as timer:
        with Bar(console) as bar:
            failures = trials.carry_out(planned, engine, bar)
        say(f"timing all models on {timer.where}, one thread, in turn")
        found = points.measure(planned, timer)
        where = timer.where
    if not found:
        raise QuantizeError(f"no trial gave a model: {failures[0].reason}")
    page = report.write(folder, found, failures, where)
    shown = Table(title="what compression bought", title_justify="left")
    for column in report.COLUMNS:
        shown.add_column(column, justify="left" if column == "variant" else "right")
    for row in report.rows(found):
        shown.add_row(*row)
    console.print(shown)
    for line in report.words(found):
        say(line)
    say(f"report: {page}")
