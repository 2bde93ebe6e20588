"""Pictures to learn from, and what is said of them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import devices
import numpy as np
from clocks import RIGHT

from edge.cameras import Frame
from edge.config import Inbox as InboxConfig
from edge.feedback.picture_store import PictureStore
from edge.messages.base import new_id
from edge.messages.feedback import InboxItem, InboxPicture, Kept
from edge.messages.sighting import FrameRef, ModelRef
from edge.system import state_lock

JPEG = devices.photo("aphid")
ANY = InboxConfig(keep=True, send=True, random_share=0.0, spacing_seconds=0.0, min_free_bytes=0)


def frame(seconds: float = 0.0, jpeg: bytes = JPEG) -> Frame:
    """A frame taken so many seconds after the start."""
    return Frame(
        pixels=np.zeros((32, 32, 3), np.uint8),
        time=RIGHT + timedelta(seconds=seconds),
        source=f"{seconds}",
        width=160,
        height=120,
        jpeg=lambda: jpeg,
    )


def item(why: Kept = "unknown", seconds: float = 0.0, id: str = "") -> InboxItem:
    """An inbox item about a picture."""
    return InboxItem(
        device="cam-1",
        boot="b",
        id=id or new_id(),
        kept=why,
        time=RIGHT + timedelta(seconds=seconds),
        clock="synced",
        label=None,
        reason="unknown",
        confidence=0.4,
        probabilities={"aphid": 0.4},
        model=ModelRef(name="m", version="1", sha256="0" * 64),
        frame=FrameRef(width=160, height=120, source="x"),
        picture=InboxPicture(width=160, height=120, bytes=len(JPEG), sha256="0" * 64),
    )


def names(spool: PictureStore) -> list[str]:
    """The names of the files in the folder, without the lock file."""
    return sorted(path.name for path in spool.folder.iterdir() if path.name != state_lock.NAME)


def unsent(folder: Path) -> list[str]:
    """The stems of the items in a folder that were not sent yet, oldest first."""
    return sorted(path.stem for path in folder.glob("2026*[0-9a-f].json"))
