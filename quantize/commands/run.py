"""What ``python -m quantize run`` does, with bars on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import TextColumn, TimeElapsedColumn
from rich.table import Table

from edge.errors import QuantizeError
from edge.model.bundle.bundle import SUFFIX
from quantize.bundle.naming import identity
from quantize.compress.structured import account
from quantize.options import Options
from quantize.parity import report as report_page
from quantize.parity.compare import Limits, Report, require, require_photos
from quantize.pipeline import Outcome, Pipeline, pack
from quantize.sweep.engines import Engine
from quantize.tflite.edgetpu import Verdict
from quantize.timing.timer import open_timer
from training.console import PhaseBars


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The command line, as given."""

    folder: Path
    out: Path
    key: Path | None
    name: str
    version: str
    method: str
    pruning: float | None
    """None: none, or what the pattern means."""
    budget: str
    resolution: int | None
    io: str
    epochs: int | None
    pruning_epochs: int | None
    learning_rate: float
    pruning_learning_rate: float
    batch: int
    tolerance: float
    min_agreement: float
    on: str = ""
    on_command: str = ""
    pruning_schedule: str = ""
    pruning_pattern: str = "free"
    clusters: int = 0

    def options(self) -> Options:
        """The part that shapes the model and the gate."""
        if self.on and not self.budget:
            raise QuantizeError(f"--on {self.on}: only budgets are timed; give --budget too")
        for name, value in (("tolerance", self.tolerance), ("min-agreement", self.min_agreement)):
            if not 0 <= value <= 1:
                raise QuantizeError(f"--{name} {value}: give a share, 0 to 1")
        return Options(
            method=self.method,  # type: ignore[arg-type]  # Options checks it
            pruning=self._share(),
            pruning_schedule=self.pruning_schedule,  # type: ignore[arg-type]
            pruning_pattern=self.pruning_pattern,  # type: ignore[arg-type]
            clusters=self.clusters,
            budget=self.budget,
            resolution=self.resolution,
            io=self.io,  # type: ignore[arg-type]
            epochs=self.epochs,
            pruning_epochs=self.pruning_epochs,
            learning_rate=self.learning_rate,
            pruning_learning_rate=self.pruning_learning_rate,
            batch=self.batch,
            limits=Limits(tolerance=self.tolerance, min_agreement=self.min_agreement),
        )

    def _share(self) -> float:
        if self.pruning is None:
            return 0.5 if self.pruning_pattern == "2:4" else 0.0
        return self.pruning


def quantize_run(request: Request, console: Console | None = None) -> None:
    """Make, judge and pack; the parity report is written whether the gate is passed or not.

    Raises:
        QuantizeError: the request, the run or the model cannot be used.
        ParityError: the int8 model is too far from the float one; there is no bundle.
        ConfigError: the signing key cannot be read.
    """
    from edge.model.bundle.signing import load_private_key
    from training.runs import load_run

    console = console or Console()
    out = checked_out(request.out)
    name, version = identity(out, request.name, request.version)
    # Everything that can be wrong at the end is looked at before the long work begins.
    signing_key = load_private_key(request.key) if request.key else None
    run, options = load_run(request.folder), request.options()
    require_photos({name: len(run.dataset.split(name).examples) for name in ("val", "test")})
    with (
        Bar(console) as bar,
        open_timer(request.on, request.on_command, bar.say) as timer,
    ):
        pipeline = Pipeline(run, options, bar, timer)
        outcome = pipeline.judge(pipeline.int8_model())
        resized = request.budget or request.resolution
        cost = account(pipeline, outcome.model) if resized else ""
    pages = report_page.write(out, outcome, pipeline.run.info.labels, pipeline.run.dataset.root)
    console.print(table(outcome.report))
    if cost:
        console.print(cost, highlight=False, soft_wrap=True)
    console.print(f"parity report: {pages}", highlight=False, soft_wrap=True)
    out_was_there = out.exists()
    require(outcome.report)
    manifest = pack(pipeline, outcome, out, name, version, signing_key)
    signed = "signed" if signing_key else "not signed"
    verb = "replaced" if out_was_there else "written"
    size = out.stat().st_size
    console.print(
        f"{verb}: {out}  {size:,} bytes, {manifest.name} {manifest.version}, {signed}",
        highlight=False,
        soft_wrap=True,
    )


def quantize_sweep(
    runs: Sequence[Path],
    folder: Path,
    variants: Sequence[str],
    engine: Engine,
    extra: Sequence[str],
    console: Console | None = None,
    on: str = "",
    on_command: str = "",
) -> None:
    """Carry out the trials that are missing, measure all, write the report.

    Raises:
        QuantizeError: an unknown variant, an unfinished run, an engine that can run nothing, a
            machine to time on that cannot be used, or no trial gave a model.
    """
    from quantize.sweep import points, report, trials
    from training.runs import load_run

    console = console or Console()
    for run in runs:
        load_run(run)  # raises with the cure
    timed_on = [
        word
        for name, value in (("--on", on), ("--on-command", on_command))
        if value
        for word in (name, value)
    ]
    planned = trials.plan(runs, variants or trials.VARIANTS, folder, extra, timed_on)

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


def quantize_edgetpu(
    bundle: Path, out: Path, key: Path | None, console: Console | None = None
) -> None:
    """Show the verdicts, compile, and write the bundle with the compiled model in it.

    Raises:
        QuantizeError: the compiler is missing or refuses the model; the bundle is untouched.
        ConfigError: the signing key cannot be read.
        BundleError: the bundle cannot be read.
    """
    from edge.model.bundle.bundle import EDGETPU_MODEL, MODEL, read_bundle, write_bundle
    from edge.model.bundle.signing import load_private_key
    from quantize.tflite import edgetpu

    console = console or Console()
    checked_out(out)
    found = read_bundle(bundle)
    signing_key = load_private_key(key) if key else None
    if found.signed and signing_key is None:
        raise QuantizeError(
            f"{bundle} is signed; with another model in it the signature is void: give --key"
        )
    console.print(_verdict_table(edgetpu.verdicts(found.model)))
    size = edgetpu.weight_bytes(found.model)
    fits = "fits into" if size < edgetpu.CACHE_BYTES else "is more than"
    console.print(f"{size:,} bytes of weights: {fits} the chip's own memory (about 8 MiB)")
    compiled = edgetpu.compile_model(found.model)
    for name, count, status in compiled.statuses:
        console.print(f"compiler {compiled.version}: {count} x {name}: {status}", highlight=False)
    console.print(f"on the TPU {compiled.on_tpu} operators, on the CPU {compiled.on_cpu}")
    members = {MODEL: found.model, EDGETPU_MODEL: compiled.model, **found.goldens}
    write_bundle(out, found.manifest, members, signing_key)
    console.print(f"written: {out}  {out.stat().st_size:,} bytes", soft_wrap=True)


def _verdict_table(found: Sequence[Verdict]) -> Table:
    """Neighbours with the same fate share a row."""
    shown = Table(title="Edge TPU, by the documented limits", title_justify="left")
    for column in ("operators", "which", "runs on", "why"):
        shown.add_column(column)
    for key, group in groupby(found, lambda v: (v.on_tpu, v.reason)):
        rows = list(group)
        kinds = Counter(v.operator for v in rows)
        shown.add_row(
            f"{rows[0].number} to {rows[-1].number}",
            ", ".join(f"{n} x {kind}" for kind, n in kinds.items()),
            "TPU" if key[0] else "CPU",
            key[1],
        )
    return shown


def checked_out(out: Path) -> Path:
    """The bundle's path, refused before hours of work if it cannot be written.

    Raises:
        QuantizeError: another ending, or no folder.
    """
    if out.suffix != SUFFIX:
        raise QuantizeError(f"--out {out}: a bundle's name ends in {SUFFIX}")
    if not out.parent.is_dir():
        raise QuantizeError(f"--out {out}: there is no folder {out.parent}")
    return out


def table(report: Report) -> Table:
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


class Bar(PhaseBars):
    """A bar per phase, with a note behind it."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, TimeElapsedColumn(), TextColumn("{task.fields[note]}"))

    def phase(self, name: str, steps: int) -> None:
        """A phase of so many steps begins."""
        self.task = self.bars.add_task(name, total=steps, note="")

    def advance(self, steps: int, note: str = "") -> None:
        """Some steps of the phase are done."""
        if note:
            self.bars.update(self.task, note=note)
        self.bars.advance(self.task, steps)


__all__ = ["Bar", "Outcome", "Request", "quantize_edgetpu", "quantize_run", "quantize_sweep"]
