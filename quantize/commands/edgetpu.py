"""What ``python -m quantize edgetpu`` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from edge.errors import QuantizeError
from edge.model.bundle.bundle import EDGETPU_MODEL, read_bundle, write_bundle
from edge.model.bundle.signing import load_private_key
from quantize.bundle.naming import checked_out
from quantize.tflite import edgetpu


def quantize_edgetpu(
    bundle: Path, out: Path, key: Path | None, console: Console | None = None
) -> None:
    """Show the verdicts, compile, and write the bundle with the compiled model in it.

    Raises:
        QuantizeError: the compiler is missing or refuses the model; the bundle is untouched.
        ConfigError: the signing key cannot be read.
        BundleError: the bundle cannot be read.
    """
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
    members = found.members | {EDGETPU_MODEL: compiled.model}
    write_bundle(out, found.manifest, members, signing_key)
    console.print(f"written: {out}  {out.stat().st_size:,} bytes", soft_wrap=True)


def _verdict_table(found: Sequence[edgetpu.Verdict]) -> Table:
    """Neighbours with the same fate share a row."""
    columns = ("operators", "which", "runs on", "why")
    shown = Table(*columns, title="Edge TPU, by the documented limits", title_justify="left")
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
