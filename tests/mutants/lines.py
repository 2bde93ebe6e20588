"""Sees which lines run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from changes import Change


class Lines:
    """Sees which lines of some files run."""

    def __init__(self, paths: set[str]) -> None:
        self._paths, self.seen = paths, set[tuple[str, int]]()
        threading.settrace(self._trace)
        sys.settrace(self._trace)

    def end(self) -> None:
        """Look no more."""
        threading.settrace(None)
        sys.settrace(None)

    def ran(self, path: Path, change: Change) -> bool:
        """Whether a line of this change was seen."""
        return any((str(path), line) in self.seen for line in change.lines)

    def _trace(self, frame: FrameType, _event: str, _value: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in self._paths:
            return None
        self.seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._trace
