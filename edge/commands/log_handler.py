"""The log's lines, where nobody may read them any more."""

from __future__ import annotations

import logging
import os
import select

_PIECE_BYTES = 4096
"""What a pipe that takes anything takes without waiting (pipe(7), PIPE_BUF on Linux)."""
_PATIENCE_MS = 200


class LineHandler(logging.Handler):
    """Writes the log to a stream's descriptor; whoever logs never waits for whoever reads.

    A pipe that is not read, a terminal that was stopped or a journal that hangs would hold up every
    thread. What such a stream does not take is left out, and counted when it takes lines again.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, if it is taken soon."""
        try:
            if self._left_out and self._write(f"\n... {self._left_out} lines are left out\n", 0):
                self._left_out = 0
            if self._left_out or not self._write(self.format(record) + "\n", _PATIENCE_MS):
                self._left_out += 1
        except OSError:  # nobody is there, or the disk behind it is full
            pass
        except Exception:
            self.handleError(record)

    def _write(self, text: str, patience_ms: int) -> bool:
        left = text.encode("utf-8", "backslashreplace")
        while left:
            if not self._poll.poll(patience_ms):
                return False
            left = left[os.write(self._descriptor, left[:_PIECE_BYTES]) :]
        return True
