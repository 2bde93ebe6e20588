"""Images of disks as block devices, and file systems on them, without a process for each step."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

_GET_FREE, _CONFIGURE, _CLEAR = 0x4C82, 0x4C0A, 0x4C01
_NOATIME = 1024
_libc = ctypes.CDLL(None, use_errno=True)
_MNT_DETACH = 2


@contextlib.contextmanager
def loop_device(image: Path) -> Iterator[Path]:
    """Attach a loop device to a file. Raises OSError where that cannot be done."""
    backing = os.open(image, os.O_RDWR)
    try:
        device, path = _attach(backing)
    finally:
        os.close(backing)
    try:
        yield path
    finally:
        fcntl.ioctl(device, _CLEAR)
        os.close(device)


def _attach(backing: int) -> tuple[int, Path]:
    """Take the next free device; another process may be quicker."""
    with Path("/dev/loop-control").open("rb") as control:
        for _ in range(100):
            path = Path(f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}")
            device = os.open(path, os.O_RDWR)
            configuration = bytearray(struct.pack("<II", backing, 0).ljust(304, b"\0"))
            try:
                fcntl.ioctl(device, _CONFIGURE, configuration)
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:
                    raise
                time.sleep(0.001)
                continue
            return device, path
    raise OSError(errno.EBUSY, "no loop device is free")


@contextlib.contextmanager
def mounted(device: Path, folder: Path, kind: str, options: str = "") -> Iterator[Path]:
    """Mount a file system. Raises OSError where the kernel does not take it."""
    folder.mkdir(exist_ok=True)
    arguments = (os.fsencode(device), os.fsencode(folder), kind.encode(), _NOATIME)
    if _libc.mount(*arguments, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount {kind}: {os.strerror(number)}", str(device))
    try:
        yield folder
    finally:
        unmount(folder)


def unmount(folder: Path) -> None:
    """Unmount; a file that is just being closed is waited for, for five seconds. Raises OSError.

    What is in use for longer goes when it is let go: a container that was started meanwhile has
    all mounts of this machine too.
    """
    for _ in range(500):
        if not _libc.umount2(os.fsencode(folder), 0):
            return
        if ctypes.get_errno() != errno.EBUSY:
            break
        time.sleep(0.01)
    else:
        if not _libc.umount2(os.fsencode(folder), _MNT_DETACH):
            return
    raise OSError(ctypes.get_errno(), "cannot unmount", str(folder))
