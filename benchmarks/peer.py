"""An environment of its own for tflite-support, which needs Python 3.11 or older and NumPy 1."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = ("tflite-support==0.4.4", "numpy<2")
CHECK = "from tflite_support.task import vision"


def tflite_support_python(folder: Path) -> Path:
    """Make the environment in ``folder`` unless it is there; gives its interpreter.

    Raises:
        RuntimeError: No fitting Python, or the packages cannot be installed; says which.
    """
    python = folder / "bin" / "python"
    if not _works(python):
        shutil.rmtree(folder, ignore_errors=True)
        base = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
        if not base:
            raise RuntimeError("tflite-support needs Python 3.11, and there is none on the path")
        _run([base, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES])
        _run([str(python), "-c", CHECK])
    return python


def _works(python: Path) -> bool:
    if not python.exists():
        return False
    return subprocess.run([str(python), "-c", CHECK], capture_output=True).returncode == 0


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
