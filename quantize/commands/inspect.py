"""``python -m quantize inspect``: what is in a bundle, for a person."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from edge.model.bundle.bundle import Bundle, read_bundle
from edge.model.bundle.manifest import Manifest, StartWeights, starts_of
from edge.model.bundle.signing import load_public_key
from edge.model.tflite import facts as tflite_file
from quantize.commands.run import why_chosen
from quantize.tflite.graph import Layer, layers
from quantize.tflite.memory import deflated
from training.tflite import read_graph


def show(path: Path, key: Path | None = None, console: Console | None = None) -> None:
    """Verify a bundle and print what it holds.

    Raises:
        BundleError: the bundle is refused.
        ConfigError: the key cannot be read.
    """
    console = console or Console()
    bundle = read_bundle(path, (load_public_key(key),) if key else ())
    for part in (
        _identity(path, bundle),
        labels(bundle.manifest),
        _figures(bundle.manifest),
        _graph(bundle),
        _zeros(layers(read_graph(bundle.model))),
    ):
        console.print(part)


def _pairs(title: str, rows: dict[str, str]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _identity(path: Path, bundle: Bundle) -> Table:
    m, source = bundle.manifest, bundle.manifest.provenance
    if bundle.signed_by:
        signature = f"verified, key {bundle.signed_by}"
    else:
        signature = "signed; give --key to verify it" if bundle.signed else "not signed"
    rows = {
        "file": f"{path}, {bundle.size:,} bytes, SHA-256 {bundle.sha256[:16]}…",
        "created": m.created,
        "signature": signature,
        "input": (
            f"{m.input.width} × {m.input.height} {m.input.colour}, {m.input.dtype}, "
            f"scale {m.input.scale:.7g}, zero point {m.input.zero_point}; "
            f"photo: {m.input.crop}, {m.input.resize}"
        ),
        "output": (
            f"{len(m.labels)} {m.output.kind}, {m.output.dtype}, scale {m.output.scale:.5g}, "
            f"zero point {m.output.zero_point}"
        ),
        "decision": (
            f"temperature {m.decision.temperature:.3f}; unknown below {m.decision.unknown} "
            f"{m.decision.unknown_threshold:.3f}"
        ),
        "goldens": (
            f"{len(m.goldens)}, tolerance {min(g.tolerance for g in m.goldens):g} to "
            f"{max(g.tolerance for g in m.goldens):g} levels, made with {m.interpreter.name} "
            f"{m.interpreter.version}"
        ),
    }
    if source:
        rows["made by"] = (
            f"{source.method}, pruning {source.pruning_pattern or f'{source.pruning:.0%}'}"
        )
        if source.clusters:
            rows["made by"] += f", {source.clusters} different weights a layer"
        if source.budget:
            rows["made by"] += f", made smaller for {source.budget}"
        rows["trained"] = f"recipe {source.recipe}, seed {source.seed}, split: {source.split_rule}"
        if source.start:
            rows["start weights"] = "; ".join(map(_start, starts_of(source.start)))
        if source.teachers:
            rows["taught by"] = "; ".join(
                f"a run of {one.recipe}, SHA-256 {one.sha256[:16]}…" for one in source.teachers
            )
        rows["data"] = source.data_fingerprint
        rows["packages"] = ", ".join(f"{k} {v}" for k, v in sorted(source.packages.items()))
    return _pairs(f"{m.name} {m.version}", rows)


def _start(start: StartWeights) -> str:
    known = ", ".join(one for one in (start.source, start.licence) if one)
    return f"{start.name}{known and f' ({known})'}, SHA-256 {start.sha256[:16]}…"


def labels(m: Manifest) -> Table:
    """A table of the classes, with their figures on test photos."""
    table = Table(title="labels, with figures on test photos", title_justify="left")
    for column in ("", "id", "name", "threshold", "photos", "precision", "recall", "F1"):
        named = column in ("id", "name")  # never cut short: two may begin alike
        table.add_column(column, justify="left" if named else "right", overflow="fold")
    for index, label in enumerate(m.labels):
        found = m.metrics.per_class.get(label.id) if m.metrics else None
        figures = (
            (str(found.n), f"{found.precision:.1%}", f"{found.recall:.1%}", f"{found.f1:.2f}")
            if found
            else ("",) * 4
        )
        table.add_row(str(index), label.id, label.name, f"{label.threshold:.2f}", *figures)
    return table


def _figures(m: Manifest) -> Table:
    if m.metrics is None:
        return _pairs("figures", {"": "none recorded"})
    rows = {}
    for name, part in (("float", m.metrics.float_), ("int8", m.metrics.int8)):
        rows[name] = (
            f"accuracy {part.accuracy:.1%} ({part.accuracy_low:.1%} to {part.accuracy_high:.1%}), "
            f"balanced {part.balanced_accuracy:.1%}, calibration error {part.ece:.3f}"
        )
    rows["agreement"] = f"{m.metrics.agreement:.1%}"
    if m.metrics.unknown is not None:
        rows["unknown"] = f"{m.metrics.unknown.kept:.1%} of the right answers stay"
        if m.metrics.unknown.ways:
            rows["unknown is told"] = why_chosen(m.metrics.unknown)
        for name, kind in m.metrics.unknown.kinds.items():
            rows[f"unknown: {name}"] = (
                f"{kind.caught:.1%} ({kind.caught_low:.0%} to {kind.caught_high:.0%}) of "
                f"{kind.n}, area under ROC {kind.roc_area:.3f}"
            )
    return _pairs(f"figures on {m.metrics.n} {m.metrics.split} photos", rows)


def _graph(bundle: Bundle) -> Table:
    graph = read_graph(bundle.model)
    counts = ", ".join(f"{count} × {name}" for name, count in graph.operator_counts().items())
    types = sorted({t.dtype.lower() for t in graph.tensors})
    names = tflite_file.read(bundle.model).labels
    return _pairs(
        "model.tflite",
        {
            "size": f"{len(bundle.model):,} bytes, {deflated(bundle.model):,} zipped",
            "operators": counts,
            "tensor types": ", ".join(types),
            "labels inside": f"{len(names)}, in TFLite metadata" if names else "none",
            "Edge TPU form": "yes" if bundle.edgetpu_model else "no",
        },
    )


def _zeros(found: tuple[Layer, ...]) -> Table:
    size, zeros = sum(layer.size for layer in found), sum(layer.zeros for layer in found)
    table = Table(title="weights", title_justify="left", show_footer=True)
    table.add_column("operator", footer="all")
    table.add_column("shape", footer=f"{len(found)} layers")
    table.add_column("weights", justify="right", footer=f"{size:,}")
    table.add_column("zeros", justify="right", footer=f"{zeros / size:.1%}" if size else "")
    table.add_column("different", justify="right")
    for layer in found:
        shape = " × ".join(str(n) for n in layer.shape)
        table.add_row(
            layer.kind, shape, f"{layer.size:,}", f"{layer.sparsity:.1%}", str(layer.levels)
        )
    return table
