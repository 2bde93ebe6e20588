"""Run benchmarks one after another, keep each result as JSON, skip what is already known."""

from __future__ import annotations

import hashlib
import importlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import msgspec

from benchmarks.result import Figure, Result

TREE = Path(__file__).parent.parent
BENCHMARKS = {
    "pipeline": "benchmarks.pipeline",
    "overhead": "benchmarks.overhead",
    "start": "benchmarks.start",
    "outbox": "benchmarks.outbox",
    "wear": "benchmarks.wear",
    "recovery": "benchmarks.recovery",
    "field": "benchmarks.field",
    "tiles": "benchmarks.tiles",
    "motion": "benchmarks.motion",
    "training-throughput": "benchmarks.throughput",
    "accuracy": "benchmarks.accuracy",
    "compression": "benchmarks.compression",
    "compression-bean-leaf": "benchmarks.compression_bean_leaf",
}
PACKAGES = ("numpy", "pillow", "ai-edge-litert", "paho-mqtt", "msgspec", "tensorflow", "tf-keras")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line chose."""

    out: Path
    seeds: int = 3
    runs: Path | None = None
    """Folder with finished training runs for the accuracy benchmark; None: below ``out``."""
    again: bool = False
    tiny: bool = False
    """Smallest sizes that still run every line: figures mean nothing."""


def conditions() -> dict[str, str]:
    """Name the machine and the packages."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **versions,
    }


def _cpu() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def fingerprint(name: str, data: Path, options: Options) -> str:
    """Hash what a benchmark's figures depend on: sources, material, options, package versions."""
    module = importlib.import_module(BENCHMARKS[name])
    digest = hashlib.sha256()
    sources = [Path(module.__file__ or ""), *sorted((TREE / "benchmarks" / "baselines").glob("*"))]
    for pattern in module.SOURCES:
        sources += sorted(TREE.glob(pattern))
    for path in sources:
        if path.is_file():
            digest.update(path.read_bytes())
    for material in module.MATERIAL:
        path = data / material
        digest.update(f"{material}:{path.stat().st_size if path.is_file() else 0}".encode())
    digest.update(msgspec.json.encode([options.seeds, options.tiny, str(data), conditions()]))
    return digest.hexdigest()


def run(name: str, data: Path, options: Options) -> Result:
    """Measure one benchmark and write ``OUT/NAME.json``; a result for the same inputs is reused."""
    path = options.out / f"{name}.json"
    inputs = fingerprint(name, data, options)
    kept = path.exists() and not options.again
    if kept and not getattr(sys.modules[BENCHMARKS[name]], "RESUMES", False):
        known = msgspec.json.decode(path.read_bytes(), type=Result)
        if known.inputs == inputs:
            print(f"{name}: measured before with the same inputs (--again measures anew)")
            return known
    module = importlib.import_module(BENCHMARKS[name])
    load = os.getloadavg()[0]
    start = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    figures: tuple[Figure, ...] = module.run(data, options)
    circumstances = {**conditions(), "load average before": f"{load:.1f}"}
    result = Result(
        name=name,
        what=(module.__doc__ or "").strip().splitlines()[0],
        figures=figures,
        conditions=circumstances | {"measured": time.strftime("%Y-%m-%d")},
        inputs=inputs,
        seconds=round(time.monotonic() - start, 1),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    return result


@contextmanager
def scratch(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder for the time of a measurement."""
    with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as name:
        yield Path(name)


def launch(command: list[str], *, affinity: set[int] | None = None) -> dict[str, float | str]:
    """Run a command in a small process of its own that times it and reads its peak memory.

    Returns ``first_seconds`` (start to the first line on stdout), ``seconds``, ``peak_mib`` and
    ``stdout``. The small process is needed because a child's peak memory starts at its parent's.

    Raises:
        RuntimeError: The command failed; its stderr is in the message.
    """
    launcher = Path(__file__).parent / "baselines" / "launch.py"
    cores = ",".join(str(core) for core in sorted(affinity or os.sched_getaffinity(0)))
    full = [sys.executable, "-I", "-S", str(launcher), cores, *command]
    environment = {**os.environ, "PYTHONPATH": str(TREE)}
    done = subprocess.run(
        full, capture_output=True, text=True, check=False, cwd=TREE, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    report: dict[str, float | str] = msgspec.json.decode(done.stdout.encode())
    return report
