"""Room on the disk that is kept for the day when others have filled it.

Deleting what was delivered needs room too: SQLite writes it to its log first, and bringing a log
into the file may make the file larger. So a full disk would keep the outbox from ever emptying.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from edge.system.files import put_aside

ROOM_BYTES = 2_500_000
"""More than the log grows to between two checkpoints, and once more what that adds to the file."""


class DiskReserve:
    """A file beside the outbox that holds the room, and is given up when it is needed.

    What is new is written only while it is there: so that room is for deleting alone.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.with_name(path.name + ".room")
        self._held = False

    def there(self) -> bool:
        """Whether the reserve exists."""
        return self.file.is_file()

    def hold(self) -> None:
        """Take the room, unless it is held. Raises OSError where the disk has none."""
        if self._held:
            return
        if self.file.exists() and not self.file.is_file():
            put_aside(self.file)
        try:
            descriptor = self._opened()
        except PermissionError:  # made by another user: it holds nothing
            self.spend()
            descriptor = self._opened()
        try:
            if os.fstat(descriptor).st_size < ROOM_BYTES:
                os.posix_fallocate(descriptor, 0, ROOM_BYTES)
        except OSError:
            self.spend()  # a part of it is of no use here, and may be elsewhere
            raise
        finally:
            os.close(descriptor)
        self._held = True

    def _opened(self) -> int:
        return os.open(self.file, os.O_CREAT | os.O_RDWR, 0o600)

    def forget(self) -> None:
        """Take the file as gone."""
        self._held = False

    def spend(self) -> None:
        """Free the reserve for the next write."""
        self._held = False
        with contextlib.suppress(OSError):
            self.file.unlink(missing_ok=True)
