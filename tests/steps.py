"""Every step of this process that lasts in a folder; what kills and power cuts there leave."""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import resource
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

NAMES = (
    "fsync", "fdatasync", "replace", "rename", "unlink", "remove", "mkdir", "rmdir", "truncate",
    "ftruncate", "link", "symlink", "sendfile", "write", "pwrite", "posix_fallocate",
)  # fmt: skip
"""Of `os`; the making of a file is a step too, by whatever name."""
_WRITES = {"sendfile", "write", "pwrite", "posix_fallocate", "ftruncate", "truncate"}
_SYNCS = {"fsync", "fdatasync"}
Told = Callable[[str], None]
"""Called before and after each step with what it is."""


class Unsynced:
    """Files whose contents a power cut may take: by inode, so that a rename does not save them."""

    def __init__(self) -> None:
        self.inodes: set[int] = set()

    def learn(self, name: str, what: int | str | Path) -> None:
        """Take note of a step that was done with a descriptor or a path."""
        with contextlib.suppress(OSError):
            found = os.stat(what)
            if stat.S_ISREG(found.st_mode):
                change = self.inodes.discard if name in _SYNCS else self.inodes.add
                change(found.st_ino)

    def cut(self, live: Path, copied: Path, share: float) -> None:
        """Leave so much of them in a copy of the folder."""
        for file in live.rglob("*"):
            if file.is_file() and file.stat().st_ino in self.inodes:
                copy = copied / file.relative_to(live)
                os.truncate(copy, int(share * copy.stat().st_size))


@contextlib.contextmanager
def told_steps(folder: Path, tell: Told, unsynced: Unsynced | None = None) -> Iterator[None]:
    """Report each step below the folder, also one that fails."""
    kept = unsynced or Unsynced()
    quiet = [False]

    def wrapped(
        name: str,
        real: Callable[..., Any],
        changes: Callable[[tuple[Any, ...], dict[str, Any]], bool],
    ) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            where = "" if quiet[0] else _place(arguments[0])
            if not where.startswith(str(folder)) or not changes(arguments, options):
                return real(*arguments, **options)
            _aside(quiet, tell, f"before {name} {where}")  # may raise what the step then raises
            try:
                result = real(*arguments, **options)
                if name in _WRITES | _SYNCS or name == "open":
                    kept.learn(name, arguments[0])
                return result
            finally:
                _aside(quiet, tell, f"after {name} {where}")

        return step

    patched = [(os, name, lambda *_: True) for name in NAMES]
    patched += [(os, "open", _os_makes), (builtins, "open", _makes), (io, "open", _makes)]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in patched]
    try:
        for owner, name, changes in patched:
            setattr(owner, name, wrapped(name, getattr(owner, name), changes))
        yield
    finally:
        for owner, name, real in before:
            setattr(owner, name, real)


def kill_at(number: int, folder: Path) -> contextlib.AbstractContextManager[None]:
    """Have this process kill itself before (even) or after (odd) a step of that number // 2."""
    count = iter(range(1_000_000))

    def tell(_what: str) -> None:
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return told_steps(folder, tell)


class Refusing:
    """A disk that refuses a step and, where it stays so, all that follow; `only` those of a name.

    What it refuses never happened. `refused` counts.
    """

    def __init__(self, number: int, error: int, stays: bool, only: tuple[str, ...] = NAMES) -> None:
        self._number, self._error, self._stays, self._only = number, error, stays, only
        self._count = self.refused = 0

    def on(self, folder: Path) -> contextlib.AbstractContextManager[None]:
        """Refuse below a folder."""
        return told_steps(folder, self._tell)

    def _tell(self, what: str) -> None:
        when, name, where = what.split(" ", 2)
        if when == "before" and name in self._only:
            at, self._count = self._count, self._count + 1
            if at == self._number or (self._stays and at > self._number):
                self.refused += 1
                raise OSError(self._error, os.strerror(self._error), where)


@contextlib.contextmanager
def descriptors(left: int) -> Iterator[None]:
    """Have this process open so many files more, and no others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Not the lowest free number and so many more: others above it may be taken.
    listed = os.listdir("/proc/self/fd")
    taken = {int(name) for name in listed if os.path.lexists(f"/proc/self/fd/{name}")}
    limit = next(islice((n for n in count() if n not in taken), left, None))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def moments(folder: Path, work: Callable[[], object], into: Path) -> list[tuple[str, Path]]:
    """Do the work once; give, for each moment around its steps, a copy of the folder as a kill
    would leave it, and as cuts of the power would: without, or with half of what was not synced.
    """
    found: list[tuple[str, Path]] = []
    unsynced = Unsynced()

    def copy(what: str, share: float | None) -> None:
        copied = into / str(len(found))
        shutil.copytree(folder, copied)
        if share is not None:
            unsynced.cut(folder, copied, share)
        found.append((what, copied))

    def tell(what: str) -> None:
        copy(f"killed {what}", None)
        if unsynced.inodes:
            copy(f"cut {what}", 0.0)
            copy(f"torn {what}", 0.5)

    with told_steps(folder, tell, unsynced):
        work()
    return found


def _aside(quiet: list[bool], tell: Told, what: str) -> None:
    """Report to `tell`, without counting what that does as steps."""
    quiet[0] = True
    try:
        tell(what)
    finally:
        quiet[0] = False


def _place(what: int | str | bytes | Path) -> str:
    if isinstance(what, int):
        try:
            return os.readlink(f"/proc/self/fd/{what}")
        except OSError:
            return ""
    return os.path.abspath(os.fsdecode(what))


def _os_makes(arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    flags = arguments[1] if len(arguments) > 1 else options["flags"]
    return bool(flags & os.O_TRUNC or (flags & os.O_CREAT and not os.path.lexists(arguments[0])))


def _makes(arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    mode = arguments[1] if len(arguments) > 1 else options.get("mode", "r")
    return not isinstance(arguments[0], int) and bool(set(mode) & set("wax+"))
