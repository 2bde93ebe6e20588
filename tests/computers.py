"""The kernel's files of computers that there are not: what is mounted, which card is in them."""

from __future__ import annotations

import os
from pathlib import Path

from edge.system.identity import boot_id


def computer(
    folder: Path, kind: str = "ext4", source: str = "/dev/root", options: str = "rw"
) -> Path:
    """Write the kernel's files of a computer on which every folder lies on this mount."""
    (folder / "proc/self/fdinfo").mkdir(parents=True, exist_ok=True)
    highest = max(int(number) for number in os.listdir("/proc/self/fd"))
    for number in range(highest + 32):
        (folder / f"proc/self/fdinfo/{number}").write_text("pos:\t0\nmnt_id:\t7\nino:\t2\n")
    (folder / "proc/self/mountinfo").write_text(
        "70 1 0:1 / /other rw - tmpfs tmpfs rw\n"
        f"7 1 9:8 / / rw shared:1 - {kind} {source} {options}\n"
    )
    return folder


def card(root: Path, cid: str) -> None:
    """Put a card into a computer: its second partition is what every folder lies on."""
    disk = root / "sys/devices/mmcblk0"
    (disk / "mmcblk0p2").mkdir(parents=True, exist_ok=True)
    (disk / "device").mkdir(exist_ok=True)
    (disk / "device/cid").write_text(f"{cid}\n")
    block = root / "sys/dev/block"
    block.mkdir(parents=True, exist_ok=True)
    if not (block / "9:8").is_symlink():
        (block / "9:8").symlink_to("../../devices/mmcblk0/mmcblk0p2")


def booted(root: Path, boot: str) -> Path:
    """Start a computer; the program of before is not there any more."""
    file = root / "proc/sys/kernel/random/boot_id"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(boot)
    boot_id.cache_clear()
    return root
