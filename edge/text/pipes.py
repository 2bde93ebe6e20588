"""Files that are no file: whoever reads a pipe waits for somebody to write."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def refuse_pipe(path: Path) -> None:
    """Look at a file that somebody else is about to read, who would wait for ever on a pipe.

    That of a shell's ``<(command)`` has no name on disk, but somebody who writes. Raises OSError:
    it is not there, or no file.
    """
    if not stat.S_ISREG(os.stat(path).st_mode) and os.path.lexists(os.path.realpath(path)):
        raise OSError(errno.EINVAL, "it is not a file", os.fspath(path))
