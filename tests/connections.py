"""The two connections of an outbox, for tests that look into its file or have SQLite refuse."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge.outbox import sql


class Connections:
    """Those of the outbox that was opened last: one writes, the other reads and deletes."""

    writer: sqlite3.Connection
    reader: sqlite3.Connection

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        real = sql.open_database

        def opened(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
            self.writer, self.reader = made = real(path)
            return made

        patch.setattr(sql, "open_database", opened)
