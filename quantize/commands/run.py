"""What ``python -m quantize run`` does, with bars on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from edge.errors import QuantizeError
from edge.model.bundle.manifest import UnknownMetrics
from edge.model.bundle.signing import load_private_key
from quantize.bundle.naming import checked_out, identity
from quantize.commands.bar import Bar
from quantize.options import Options
from quantize.parity import report as report_page
from quantize.parity.compare import Comparison, require, require_photos
from quantize.parity.outcome import Outcome
from quantize.timing.open import open_timer
from quantize.workbench import Workbench
from training.runs import Run, UsedRun, load_run
from training.unknown.foreign import check_folders


def quantize_run(
    folder: Path,
    out: Path,
    options: Options,
    key: Path | None = None,
    name: str = "",
    version: str = "",
    unknown: Sequence[Path] = (),
    teachers: Sequence[Path] = (),
    console: Console | None = None,
) -> None:
    """Make, judge and pack; the parity report is written whether the gate is passed or not.

    Args:
        folder: a finished run.
        out: the bundle to write.
        options: what is asked for.
        key: private key to sign with.
        name: in the bundle; empty: from `out`.
        version: the same.
        unknown: folders of pictures of none of the classes, to judge the unknown rule by.
        teachers: finished runs on the same photos that teach a smaller, pruned or clustered
            network beside the run's own model.
        console: to print on.

    Raises:
        QuantizeError: the options, the run or the model cannot be used.
        ParityError: the int8 model is too far from the float one; there is no bundle.
        ConfigError: the signing key cannot be read.
        TrainingError: a folder of `unknown` holds no picture, or a teacher cannot teach.
    """
    console = console or Console()
    name, version = identity(checked_out(out), name, version)
    # Everything that can be wrong at the end is looked at before the long work begins.
    signing_key = load_private_key(key) if key else None
    run = load_run(folder)
    check_folders(unknown)
    taught = _taught(run, options, teachers)
    require_photos({name: len(run.dataset.split(name).examples) for name in ("val", "test")})
    bench, outcome, cost = _made(run, options, taught, console)
    page = report_page.write(out, outcome, run.info.labels, run.dataset.root)
    console.print(table(outcome.report))
    for line in filter(None, (cost, f"parity report: {page}")):
        console.print(line, highlight=False, soft_wrap=True)
    verb = "replaced" if out.exists() else "written"
    require(outcome.report)
    console.print(outcome.report.sentence, highlight=False, soft_wrap=True)
    from quantize.pipeline import pack

    with Bar(console) as bar:
        packing = replace(bench, watcher=bar)
        manifest = pack(packing, outcome, out, name, version, signing_key, unknown)
    if manifest.metrics is not None and manifest.metrics.unknown is not None:
        console.print(unknown_table(manifest.metrics.unknown))
    console.print(
        f"{verb}: {out}  {out.stat().st_size:,} bytes, {manifest.name} {manifest.version}, "
        f"{'signed' if signing_key else 'not signed'}",
        highlight=False,
        soft_wrap=True,
    )


def _taught(run: Run, options: Options, teachers: Sequence[Path]) -> tuple[UsedRun, ...]:
    """What is written down of teachers. Raises TrainingError: one cannot teach the run."""
    if not teachers:
        return ()
    if not options.shaped:
        raise QuantizeError(
            f"--teacher {teachers[0]}: rounding alone is not taught; give --budget, --resolution, "
            "--pruning or --clusters, or teach in `python -m training fit`"
        )
    from training.fitting.teachers import taught_by

    return taught_by(teachers, run.dataset, run.info.recipe)


def _made(
    run: Run, options: Options, taught: tuple[UsedRun, ...], console: Console
) -> tuple[Workbench, Outcome, str]:
    """The int8 model beside the float one, and what it costs where it was made smaller."""
    # TensorFlow: seconds, which nobody waits for to hear that there is no run.
    from quantize.compress.structured import account
    from quantize.pipeline import Pipeline

    with Bar(console) as bar, open_timer(options.on, options.on_command, bar.say) as timer:
        bench = Workbench(run, options, bar, timer, taught)
        pipeline = Pipeline(bench)
        outcome = pipeline.judge(pipeline.int8_model())
        resized = options.budget or options.resolution
        return bench, outcome, account(bench, outcome.model) if resized else ""


def unknown_table(found: UnknownMetrics) -> Table:
    """What the unknown rule catches, for the terminal."""
    shown = Table(title="what is called unknown", title_justify="left")
    for column in ("pictures of", "n", "called unknown", "95 %", "area under ROC"):
        shown.add_column(column, justify="left" if column == "pictures of" else "right")
    for name, kind in found.kinds.items():
        interval = f"{kind.caught_low:.0%} to {kind.caught_high:.0%}"
        shown.add_row(name, str(kind.n), f"{kind.caught:.1%}", interval, f"{kind.roc_area:.3f}")
    stay = f"{found.kept:.1%} of the right answers on the test photos stay"
    shown.caption = f"{stay}\n{why_chosen(found)}"
    return shown


def why_chosen(found: UnknownMetrics) -> str:
    """By what the unknown is told, and why."""
    ways = ", ".join(
        f"{name} {way.roc_area:.3f} ({way.caught:.0%} caught)" for name, way in found.ways.items()
    )
    return f"told by {found.chosen}; area under ROC on {found.chosen_by}: {ways}"


def table(report: Comparison) -> Table:
    """The figures of the gate for the terminal."""
    shown = Table(title="float and int8 on the same photos", title_justify="left")
    columns = ["split", "photos", "float", "float TFLite", "int8", "lost", "agree"]
    if report.pruned:
        columns[3:4] = ["pruned", "its TFLite"]
    for column in columns:
        shown.add_column(column, justify="left" if column == "split" else "right")
    for name, split in report.splits.items():
        low, high = 100 * split.lost_low, 100 * split.lost_high
        shown.add_row(
            {"both": "both (gate)"}.get(name, name),
            str(split.n),
            f"{split.keras.accuracy:.1%}",
            *([f"{split.source.accuracy:.1%}"] if report.pruned else []),
            f"{split.float_tflite.accuracy:.1%}",
            f"{split.int8.accuracy:.1%}",
            f"{100 * split.lost:+.1f} ({low:+.1f} to {high:+.1f})",
            f"{split.agreement:.1%}",
        )
    calibration = report.int8_calibration
    shown.caption = (
        f"calibration error of int8 on test: {calibration.ece_before:.3f} before, "
        f"{calibration.ece_after:.3f} with temperature {calibration.temperature:.2f}"
    )
    return shown
