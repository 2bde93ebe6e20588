"""What ``check``, ``split`` and ``synth`` do on the terminal."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column, Table

from edge.errors import DataError
from training.commands.asked import CheckOptions, PhotoOptions
from training.commands.weights import ready
from training.data.check import Report
from training.data.check import check as run_check
from training.data.dataset import SPLITS, Dataset, Finding
from training.data.grouping import group_near_duplicates
from training.data.photos import Progress
from training.data.report import write_report
from training.data.sources import load_dataset
from training.data.splits import assign_splits, unrepresented
from training.data.tables import write_csv
from training.starts.table import names

COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def check(photos: PhotoOptions, asked: CheckOptions) -> int:
    """Check, print a table, write the report; gives the number of kinds of errors."""
    console = Console(highlight=False, soft_wrap=True)
    weights = asked.weights
    if weights is not None and weights not in names() and not Path(weights).is_file():
        raise DataError(f"--weights {weights}: no such file; known names: {', '.join(names())}")
    dataset = photos.load()
    folder = asked.out or Path(f"check-{photos.data.resolve().name}")
    make_folder(folder)
    ready(weights, console)
    with bars(console) as progress:
        report = run_check(
            dataset,
            min_side=asked.min_side,
            seed=asked.seed,
            accept=photos.accept or (),
            show_leakage=asked.show_leakage or weights is not None,
            weights=weights,
            progress=progress,
        )
    _, page = write_report(report, folder)
    _print(console, report)
    console.print(f"\nPictures in question: {page}", markup=False)
    return report.errors


def split(
    data: Path,
    out: Path,
    fractions: tuple[float, float, float],
    seed: int,
    ignore_csv: bool,
    anew: bool,
) -> None:
    """Group, divide, write the CSV and show the result."""
    console = Console(highlight=False, soft_wrap=True)
    if out.is_dir():
        raise DataError(f"{out}: a folder; give the CSV to write, as {out / 'split.csv'}")
    dataset = load_dataset(data, ignore_csv=ignore_csv)
    if anew:
        dataset = dataset.with_examples(replace(e, split=None) for e in dataset.examples)
    with bars(console) as progress:
        dataset = assign_splits(group_near_duplicates(dataset, progress), fractions, seed)
    write_csv(dataset, out)
    console.print(_table(dataset))
    say_notes(console, dataset)
    for label, name in unrepresented(dataset):
        words = f"warning: {label} has too few independent scenes to appear in {name}"
        console.print(words, style=COLOURS["warning"], markup=False)
    groups = len({example.group for example in dataset.examples})
    console.print(f"{out}: {len(dataset)} photos in {groups} groups", markup=False)


def make_folder(folder: Path) -> None:
    """Make a folder for results, and see that files can be written there.

    Raises:
        DataError: It is a file, or cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be made or written ({error.strerror}); use --out"
        ) from error


def say_notes(console: Console, dataset: Dataset) -> None:
    """Print what was noticed while reading."""
    for note in dataset.notes:
        words = f"{note.severity}: {note.title}" + (f". {note.advice}" if note.advice else "")
        console.print(words, style=COLOURS[note.severity], markup=False)


def say_findings(console: Console, findings: Iterable[Finding]) -> None:
    """Print warnings and notes, a line each; errors follow as what is refused."""
    for finding in findings:
        if finding.severity != "error":
            words = f"{finding.severity}: {finding.title}"
            console.print(words, style=COLOURS[finding.severity], markup=False)


def synth(out: Path, per_class: int, seed: int, size: tuple[int, int], unknown: int) -> None:
    """Paint scenes and say where they are."""
    from training.synthetic.generate import generate

    console = Console(highlight=False, soft_wrap=True)
    with bars(console) as progress:
        dataset = generate(out, per_class, seed, size, unknown, progress)
    groups = len({example.group for example in dataset.examples})
    console.print(
        f"{out}: {len(dataset)} photos of {groups} plants; classes {', '.join(dataset.labels)}"
        + (f"; {unknown} of other pests in {out / 'unknown'}" if unknown else ""),
        markup=False,
    )


@contextmanager
def bars(console: Console) -> Iterator[Progress]:
    """One progress bar per kind of work."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bars(*columns, TimeRemainingColumn(), console=console, transient=True) as shown:
        tasks: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done, total=total)

        yield progress


def _print(console: Console, report: Report) -> None:
    dataset = report.dataset
    console.print(
        f"{len(dataset)} photos, {len(dataset.classes)} classes, "
        f"{report.groups} independent "
        f"scenes; {dataset.source}",
        markup=False,
    )
    console.print(_table(dataset, report))
    if report.leakage:
        _print_leakage(console, report)
    if not report.findings:
        console.print("No problem found.", style="green")
        return
    table = Table("", Column("found", overflow="fold"), "what to do", show_edge=False)
    for finding in report.findings:
        style = COLOURS[finding.severity]
        table.add_row(
            f"[{style}]{finding.severity}[/]",
            _plain(finding.title + _example(finding, dataset)),
            _plain(finding.advice),
        )
    console.print(table)


def _example(finding: Finding, dataset: Dataset) -> str:
    """One of the photos in question, where the title names none."""
    if not finding.cases or finding.kind == "unreadable":
        return ""
    case = finding.cases[0]
    names = [dataset.examples[i].file for i in case.photos[:2]]
    return f", as {' and '.join(names)} ({case.text})"


def _print_leakage(console: Console, report: Report) -> None:
    leakage = report.leakage
    assert leakage is not None
    table = Table("probe's test accuracy", "mean", "95 % interval", show_edge=False)
    rows = [("random split", leakage.random), ("related photos kept together", leakage.grouped)]
    rows += [("the splits given", leakage.given)] if leakage.given else []
    for name, score in rows:
        table.add_row(name, f"{score.mean:.1%}", f"{score.low:.1%} to {score.high:.1%}")
    console.print(table)
    console.print(leakage.probe + "\n", style="dim", markup=False)


def _table(dataset: Dataset, report: Report | None = None) -> Table:
    cells = Counter((example.label, example.split) for example in dataset.examples)
    splits = [name for name in SPLITS if any(example.split == name for example in dataset.examples)]
    table = Table("class", show_edge=False)
    for name in ("photos", *(["scenes"] if report else []), *splits):
        table.add_column(name, justify="right")
    for label, count in dataset.counts().items():
        scenes = [str(report.scenes[label])] if report else []
        table.add_row(
            _plain(label), str(count), *scenes, *(str(cells[label, name]) for name in splits)
        )
    return table


def _plain(text: str) -> str:
    """Text that is not to be read as markup."""
    return text.replace("[", r"\[")
