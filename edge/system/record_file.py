"""Small JSON files of the device's own: there whole or not at all, whatever cut the power, and read
whatever became of them.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from edge.errors import DamagedRecordError, RecordError, ShortageError
from edge.system.files import put_aside, read_whole, sync_folder, write_whole
from edge.text.json_text import from_json
from edge.text.printable import encoded

T = TypeVar("T")


class RecordFile(Generic[T]):
    """A file that holds one value of `type`; it is readable as `mode` says, at most."""

    def __init__(self, path: Path, type: type[T], mode: int = 0o666) -> None:
        self.path, self._type, self._mode = path, type, mode

    def read(self) -> T | None:
        """Return what the file holds; None: nothing was ever written.

        Raises:
            ShortageError: it cannot be opened just now; it is to stay as it is.
            DamagedRecordError: it holds something else.
            RecordError: it cannot be read, or is no file.
        """
        try:
            return read_json(self.path, self._type)
        except FileNotFoundError:
            return None
        except ShortageError:
            raise
        except OSError as error:
            raise RecordError("read", self.path, error) from error
        except msgspec.MsgspecError as error:
            raise DamagedRecordError(self.path, error) from error

    def replace(self, value: T) -> None:
        """Put `value` in the place of what was there: on disk on return, its name too.

        Raises RecordError: the old is there, or the new.
        """
        try:
            write_whole(self.path, self._text(value), self._mode)
            sync_folder(self.path.parent)
        except OSError as error:
            raise RecordError("write", self.path, error) from error

    def remove(self) -> None:
        """Delete it, and what a cut left of a new one. Raises RecordError."""
        gone = 0
        try:
            for path in (self.path, self.path.with_name(f"{self.path.name}.new")):
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                    gone += 1
            if gone:
                sync_folder(self.path.parent)
        except OSError as error:
            raise RecordError("delete", self.path, error) from error

    def set_aside(self, ending: str) -> Path:
        """Move what cannot be used out of the way, for people to look at, as `ending` in place of
        what was moved so before; give where it is then, which is where it was if the disk refuses.
        Never raises.
        """
        aside = self.path.with_name(self.path.name + ending)
        try:
            os.replace(self.path, aside)
        except OSError:  # such as a folder, where a file has that name already
            with contextlib.suppress(OSError):
                return put_aside(self.path)
            return self.path
        return aside

    def _text(self, value: T) -> bytes:
        """Write a value, for people to read too."""
        return msgspec.json.format(encoded(value), indent=2) + b"\n"


def read_json(path: Path, type: type[T]) -> T:
    """Read a file as what it is to hold.

    Raises:
        ShortageError: it cannot be opened just now; it is to stay as it is.
        OSError: it is not there, is no file, or cannot be read.
        msgspec.DecodeError: it holds something else, whatever that is.
    """
    return from_json(read_whole(path), msgspec.json.Decoder(type))
