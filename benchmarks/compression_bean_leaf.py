"""What compression buys on a second set: diseases of bean leaves, beside TFMOT and smaller starts.

As `benchmarks.compression`. The set comes without a split: it is grouped and split by
`python -m training`.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import accuracy, compression
from benchmarks.harness import Options
from benchmarks.result import Figure

SOURCES = ("benchmarks/compression.py", *compression.SOURCES)
MATERIAL = ("bean_leaf/SOURCE.md", accuracy.MATERIAL[1])
RESUMES = True
"""As there."""


def run(data: Path, options: Options) -> tuple[Figure, ...]:
    """Make what is missing, then time and compare."""
    folder = options.runs or options.out / "runs"
    return compression.measure(data / "bean_leaf", folder / "bean_leaf", options.seeds)
