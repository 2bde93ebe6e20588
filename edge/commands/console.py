"""What a command of ``wheatear`` talks to."""

from __future__ import annotations

from typing import Protocol


class Console(Protocol):
    """Where a command says things."""

    def out(self, text: str) -> None:
        """Print a line of results."""
        ...

    def err(self, text: str) -> None:
        """Print a line of trouble."""
        ...
