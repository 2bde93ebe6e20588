"""What the machine is and how it does: read from the kernel's own files."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

# Raspberry Pi firmware's throttling bits (documentation of `vcgencmd get_throttled`).
_THROTTLED = {
    0: "under-voltage",
    1: "frequency-capped",
    2: "throttled",
    3: "soft-temperature-limit",
    16: "under-voltage-occurred",
    17: "frequency-capped-occurred",
    18: "throttled-occurred",
    19: "soft-temperature-limit-occurred",
}


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """A machine, as it names itself."""

    name: str
    """The board ("Raspberry Pi 4 Model B Rev 1.4"), else the processor; empty: neither is told."""
    machine: str
    """Architecture: "aarch64"."""
    cpus: int

    def __str__(self) -> str:
        """For people."""
        return f"{self.name}, {self.machine}" if self.name else self.machine


def board(root: Path = Path("/")) -> Board:
    """What the machine says about itself."""
    name = read(root / "proc/device-tree/model", lambda text: text.rstrip("\0"))
    return Board(
        name=name or read(root / "proc/cpuinfo", _processor) or "",
        machine=platform.machine(),
        cpus=os.cpu_count() or 1,
    )


def governor(root: Path = Path("/")) -> str | None:
    """The frequency governor of the first CPU ("ondemand"); None: not known."""
    return read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", str.strip)


def temperature(root: Path = Path("/")) -> float | None:
    """The processor's temperature in degrees Celsius; None: not known."""
    return read(root / "sys/class/thermal/thermal_zone0/temp", lambda text: int(text) / 1000)


def throttled(root: Path = Path("/")) -> tuple[str, ...] | None:
    """Why a Raspberry Pi's firmware throttles it, or has done so since the computer started.

    None: this is no Raspberry Pi. The kernel of Raspberry Pi OS gives what ``vcgencmd
    get_throttled`` does; others know of under-voltage only (driver raspberrypi-hwmon).
    """
    # "soc" or, where the device tree gives it an address (Pi 5), "soc@107c000000".
    for path in _listed(root, "sys/devices/platform/soc*/soc*:firmware/get_throttled"):
        return read(path, _flags)
    for path in _listed(root, "sys/class/hwmon/hwmon*"):
        if read(path / "name", str.strip) == "rpi_volt":
            return read(path / "in0_lcrit_alarm", lambda text: _flags(f"{int(text):x}"))
    return None


def read(path: Path, parse: Callable[[str], T]) -> T | None:
    """Read and parse a file of the kernel; None where it is not there or holds something else."""
    try:
        return parse(path.read_text("ascii", errors="replace"))
    except (OSError, ValueError, IndexError):
        return None


def _listed(root: Path, pattern: str) -> list[Path]:
    """The paths that match; empty where they cannot be listed just now."""
    try:
        return sorted(root.glob(pattern))
    except OSError:
        return []


def _flags(text: str) -> tuple[str, ...]:
    bits = int(text, 16)
    return tuple(name for bit, name in _THROTTLED.items() if bits >> bit & 1)


def _processor(text: str) -> str:
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return " ".join(value.split())
    raise ValueError("no model name")
