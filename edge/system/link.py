"""The network interface towards the broker, as the kernel sees it."""

from __future__ import annotations

from pathlib import Path

from edge.messages.health import LinkHealth
from edge.system.board import read

_UP = 1
"""RTF_UP of ``linux/route.h``."""


def link(root: Path = Path("/")) -> LinkHealth | None:
    """The interface of the default route, and its radio signal; None: there is no such route.

    The signal comes from ``/proc/net/wireless`` (wireless extensions), which the kernels of
    Raspberry Pi OS have for WiFi; null on a cable, and where the kernel lacks them.
    """
    interface = read(root / "proc/net/route", _default) or read(
        root / "proc/net/ipv6_route", _default6
    )
    if interface is None:
        return None
    signal = read(root / "proc/net/wireless", lambda text: _level(text, interface))
    return LinkHealth(interface=interface, signal_dbm=signal)


def _default(text: str) -> str:
    """Read ``/proc/net/route``: the default route with the least metric."""
    rows = [line.split() for line in text.splitlines()[1:]]
    found = [
        (int(row[6]), row[0])
        for row in rows
        if row[1] == row[7] == "00000000" and int(row[3], 16) & _UP
    ]
    if not found:
        raise ValueError("no default route")
    return min(found)[1]


def _default6(text: str) -> str:
    """Read ``/proc/net/ipv6_route``: as above; ``lo`` holds the route of what is unreachable."""
    rows = [line.split() for line in text.splitlines()]
    found = [
        (int(row[5], 16), row[9])
        for row in rows
        if row[0] == "0" * 32 and row[1] == "00" and row[9] != "lo" and int(row[8], 16) & _UP
    ]
    if not found:
        raise ValueError("no default route")
    return min(found)[1]


def _level(text: str, interface: str) -> float:
    """Read ``/proc/net/wireless``: ``wlan0: 0000   54.  -56.  -256 ...``, dBm where negative."""
    for line in text.splitlines():
        name, _, values = line.partition(":")
        if name.strip() == interface:
            level = float(values.split()[2])
            if level < 0:
                return level
    raise ValueError("no signal in dBm")
