"""Synthetic photos in, sightings over real MQTT out, and a picture of them."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from demo.field import Field, prepare
from demo.sheet import draw_sheet
from edge.model.bundle.bundle import read_bundle

MADE_BY_DEMO = "made-by-demo.txt"
"""The next demo removes only a folder that has this file."""

console = Console()


def step(title: str, *command: str, allowed: tuple[int, ...] = (0,)) -> None:
    """Run one command of the product in the open, as a user would; end the demo if it fails."""
    console.print(Rule(title, align="left"))
    shown = ["python", *command[1:]] if command[0] == sys.executable else list(command)
    console.print(f"[dim]$ {shlex.join(shown)}[/dim]", highlight=False)
    started = time.monotonic()
    status = subprocess.run(command).returncode
    if status not in allowed:
        sys.exit(f"the demo ends here: {title} failed with status {status}")
    console.print(f"[dim]{time.monotonic() - started:.0f} s[/dim]")


def main() -> None:
    """Run the demo from nothing to the picture sheet."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder for all of it")
    parser.add_argument("--per-class", type=int, default=150, help="synthetic photos per class")
    parser.add_argument(
        "--epochs", type=int, help="passes over the photos, in place of the recipe's"
    )
    parser.add_argument("--rate", type=float, default=8.0, help="frames per second of the replay")
    options = parser.parse_args()
    started = time.monotonic()
    out: Path = options.out
    begin_anew(out)
    bundle = make_model(out, options.per_class, options.epochs)
    console.print(Rule("6  In the field: replayed camera, durable outbox, MQTT", align="left"))
    field = Field(prepare(out, bundle, options.rate), console)
    field.run()
    report(out, bundle, field)
    console.print(f"[dim]{time.monotonic() - started:.0f} s in all[/dim]")
    for contradiction in field.dashboard.contradictions:
        console.print(f"[red]{contradiction}[/red]")
    sys.exit(1 if field.missing() or field.dashboard.contradictions else 0)


def begin_anew(out: Path) -> None:
    """Make `out` an empty folder of the demo's; what an earlier demo left there goes.

    Raises:
        SystemExit: something is there that no demo made, such as a person's own photos.
    """
    if out.exists() and not out.is_dir():
        sys.exit(f"{out} is not a folder: make demo OUT=folder")
    if out.exists():
        if any(out.iterdir()) and not (out / MADE_BY_DEMO).is_file():
            sys.exit(f"{out} holds files that no demo made: make demo OUT=another-folder")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / MADE_BY_DEMO).write_text("make demo made this folder, and removes it when run again.\n")


def make_model(out: Path, per_class: int, epochs: int | None) -> Path:
    """Paint photos, train on them and make the result small, below `out`; give the bundle."""
    python, photos, run = sys.executable, str(out / "photos"), str(out / "run")
    bundle = out / "demo-1.0.0.wtr"
    step(
        "1  Photos: a synthetic field, and pests that stay secret",
        *(python, "-m", "training", "synth", photos, "--per-class", str(per_class)),
        *("--unknown", str(max(2, per_class // 7))),
    )
    step(
        "2  Check them",
        *(python, "-m", "training", "check", photos, "--out", str(out / "check")),
        allowed=(0, 1),
    )
    step(
        "3  Train a small network from scratch",
        *(python, "-m", "training", "fit", photos, "--recipe", "small", "--out", run),
        *(("--epochs", str(epochs)) if epochs else ()),
    )
    step("4  Evaluate it honestly", python, "-m", "training", "evaluate", run)
    step(
        "5  Prune half its weights, make it int8, compare with the float one, pack it",
        *(python, "-m", "quantize", "run", run, "--out", str(bundle), "--pruning", "0.5"),
        *("--unknown", str(out / "photos" / "unknown")),
    )
    return bundle


def report(out: Path, bundle: Path, field: Field) -> None:
    """Draw the picture sheet; say where everything lies, and how it went."""
    sheet = draw_sheet(field.truth, field.dashboard.sightings.values(), out / "sightings.jpg")
    read = read_bundle(bundle)
    metrics = read.manifest.metrics
    assert metrics is not None, "bundles made of a run carry their metrics"
    console.print(Rule("What came out", align="left"))
    console.print(
        f"report       {out / 'run' / 'report.html'}\npicture      {sheet}\nbundle       {bundle}"
    )
    console.print(
        f"sent {field.sent}  received {len(field.dashboard.sightings)}  "
        f"missing {field.missing()}  delivered twice {field.dashboard.redelivered}  "
        f"accuracy float {metrics.float_.accuracy:.1%} int8 {metrics.int8.accuracy:.1%}  "
        f"{len(read.model):,} bytes  {field.milliseconds():.2f} ms",
        style="bold",
        highlight=False,
    )


if __name__ == "__main__":
    main()
