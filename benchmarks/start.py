"""First result after process start and peak memory: `wheatear classify` beside a bare script.

Both classify one picture with the same model, in a process of their own. Ours also checks the
bundle's hashes and runs its golden pictures first.
"""

from __future__ import annotations

import compileall
import sys
from pathlib import Path

from benchmarks import bundles, material
from benchmarks.harness import TREE, Options, launch
from benchmarks.result import Figure, pair

SOURCES = ("edge/**/*.py", "benchmarks/bundles.py", "benchmarks/material.py")
MATERIAL = (material.MODEL, material.LABELS)
IMAGE = "coral_models/bird.bmp"
REPEATS = 41


def run(data: Path, options: Options) -> tuple[Figure, ...]:
    """Measure seconds to the first line on stdout, and peak resident memory."""
    repeats = 1 if options.tiny else REPEATS
    bundle = bundles.third_party(data, options.out / "material" / "mobilenet-1.wtr")
    script = TREE / "benchmarks" / "baselines" / "bare_classify.py"
    model, labels, image = (str(data / name) for name in (material.MODEL, material.LABELS, IMAGE))
    ours_command = [*wheatear(), "classify", image, "--bundle", str(bundle)]
    theirs_command = [sys.executable, str(script), model, labels, image]
    ours, theirs = [], []
    compileall.compile_dir(TREE / "edge", quiet=1)  # as installing a wheel does
    launch(ours_command), launch(theirs_command)  # both once, for the disk cache
    for _ in range(repeats):
        ours.append(launch(ours_command))
        theirs.append(launch(theirs_command))
    figures = []
    for key, name, unit, factor, limit in (
        ("first_seconds", "first result after process start", "ms", 1e3, 1.15),
        ("peak_mib", "peak memory", "MiB", 1.0, 1.3),
    ):
        sides = [[float(report[key]) * factor for report in side] for side in (ours, theirs)]
        both = (("wheatear classify", sides[0]), ("bare script", sides[1]))
        figures.append(pair(name, unit, *both, at_most=limit))
    return tuple(figures)


def wheatear() -> list[str]:
    """The command that starts the device program: installed, else out of this tree."""
    beside = Path(sys.executable).parent / "wheatear"
    script = TREE / "benchmarks" / "baselines" / "wheatear.py"
    return [str(beside)] if beside.exists() else [sys.executable, str(script)]
