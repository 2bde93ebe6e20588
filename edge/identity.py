"""Which start of the device this is."""

from __future__ import annotations

import uuid
from functools import cache
from pathlib import Path


@cache
def boot_id(root: Path = Path("/")) -> str:
    """Give 12 hexadecimal digits that change with every start of the computer.

    Linux draws a random UUID at boot; where it cannot be read, one per start of the program does.
    """
    try:
        text = (root / "proc/sys/kernel/random/boot_id").read_text("ascii")
    except OSError:
        text = uuid.uuid4().hex
    return text.strip().replace("-", "")[:12]
