"""File descriptors and threads: what the program needs of the computer, and may not get."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

from edge.errors import ShortageError

if TYPE_CHECKING:
    from pathlib import Path

SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What the kernel says where descriptors or memory are short; it is worth trying again."""


DESCRIPTORS = 32
"""Twice what a device with everything switched on was seen to hold at once."""

_WRITTEN_AT_ONCE = 4_000_000
"""More than anything here makes a file larger by."""
_LOWEST = 1024
"""The kernel gives the lowest number that is free: a program that starts has no higher ones."""

T = TypeVar("T", bound=threading.Thread)


def is_shortage(error: BaseException) -> bool:
    """Whether an error is a lack of descriptors or memory."""
    return isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno in SHORTAGES
    )


def ensure_descriptors(wanted: int = DESCRIPTORS) -> None:
    """See that so many more files can be opened; raise the limit as far as that takes and is let.

    Raises ShortageError.
    """
    held = _held()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft - held >= wanted:
        return
    if hard == resource.RLIM_INFINITY or hard - held >= wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (held + wanted, hard))
        return
    raise ShortageError(
        f"this process may hold {hard} files open, and a device needs {held + wanted}; allow more "
        f"(LimitNOFILE={max(1024, held + wanted)} in the service, or ulimit -n)"
    )


def _held() -> int:
    """Count the descriptors that are open, and one for looking."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:  # a bare chroot has no /proc, and one more may be too many already
        return 1 + sum(_is_open(descriptor) for descriptor in range(_LOWEST))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def larger_files(*files: Path) -> str | None:
    """How to allow larger files, where this process may not add to one of these any more.

    None: it may, as far as that goes by a limit of the process.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if most == resource.RLIM_INFINITY:
        return None
    if all(_size(file) + _WRITTEN_AT_ONCE <= most for file in files):
        return None
    return (
        f"this process may write files of {most:,} bytes at most; allow more (LimitFSIZE= in the "
        "service, or ulimit -f)"
    )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def begin(thread: T) -> T:
    """Start a thread. Raises ShortageError where the computer starts none."""
    with beginning(thread.name):
        thread.start()
    return thread


@contextlib.contextmanager
def beginning(name: str) -> Iterator[None]:
    """Name what is short where a thread cannot be started. Raises ShortageError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        raise ShortageError(
            f"the {name} thread cannot be started ({error or type(error).__name__}); allow "
            "more (TasksMax= in the service, or ulimit -u), or free memory"
        ) from error
