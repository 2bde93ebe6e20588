"""Lines of the log that stay on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging import LogRecord

LOCAL = {"local": True}
"""``extra`` of a line that stays on the device: it would tell who asks what the network around it
looks like."""


def is_local(record: LogRecord) -> bool:
    """Whether a line was written with `LOCAL`."""
    return bool(getattr(record, "local", False))
