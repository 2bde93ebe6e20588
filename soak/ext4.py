"""An ext4 that can be broken as a card's is, and repaired."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from soak.filesystems import PATH
from soak.scenario import until

_SIZE = 16_000_000
_LET_GO_SECONDS = 300.0
"""A container that was begun meanwhile has the mount too, until it ends."""


def possible() -> bool:
    """Whether such a file system can be made here."""
    return (
        os.geteuid() == 0
        and shutil.which("mkfs.ext4", path=PATH) is not None
        and Path("/dev/loop-control").exists()
        and Path("/sys/fs/ext4").exists()
    )


class Ext4:
    """A file system of 16 MB in a file, mounted in `folder` while entered.

    Raises CalledProcessError where it cannot be made or mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._image = folder, folder.with_suffix(".img")
        self.folder.mkdir()
        with self._image.open("wb") as image:
            image.truncate(_SIZE)
        _do("mkfs.ext4", "-q", "-F", self._image)

    def fail(self) -> None:
        """Have the kernel find an error, which makes the file system read-only."""
        device = _do("findmnt", "-n", "-o", "SOURCE", self.folder)
        Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("on purpose")

    def repair(self) -> None:
        """Check it and mount it again; no file of it may be open.

        Raises TimeoutError where it stays mounted elsewhere: what is mounted again would be that.
        """
        _do("umount", self.folder)
        if not until(lambda: not _do("losetup", "-j", self._image), _LET_GO_SECONDS):
            raise TimeoutError(f"{self._image} is still mounted in another mount namespace")
        with contextlib.suppress(subprocess.CalledProcessError):  # its status says that it mended
            _do("fsck.ext4", "-p", "-f", self._image)
        self._mount()

    def _mount(self) -> None:
        _do("mount", "-o", "loop,errors=remount-ro", self._image, self.folder)

    def __enter__(self) -> Self:
        self._mount()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        _do("umount", "-l", self.folder)


def _do(*command: str | Path) -> str:
    environment = {**os.environ, "PATH": PATH}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return run.stdout.strip()
