"""Cameras, chosen by ``camera.kind`` from a table; adding one is a file and a line here.

A camera's library is imported only when that camera is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from edge.config import Camera as CameraConfig
from edge.config import FolderCamera, View
from edge.messages.sighting import Location
from edge.model.image.preprocessing import InputSpec
from edge.text.printable import printable

if TYPE_CHECKING:
    from edge.cameras.order import Order
    from edge.model.image.preprocessing import Pixels

CAMERAS = {
    "folder": "edge.cameras.folder:Folder",
    "picamera2": "edge.cameras.picamera2:Picamera2",
    "v4l2": "edge.cameras.v4l2:V4l2",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture."""

    pixels: Pixels
    """uint8 (H, W, 3) RGB, upright; each part that is looked at has the pixels the model takes."""
    time: datetime
    """When it was taken, UTC."""
    source: str
    """File or camera name."""
    width: int
    """Pixels of the picture as it was taken, which ``pixels`` may be a reduction of."""
    height: int
    jpeg: Callable[[], bytes]
    """Returns the picture as JPEG at full size; called only for evidence."""
    location: Location | None = None
    order: Order[Any] | None = None
    """Who asked for this frame: it passes every trigger, and no newer one replaces it."""
    recorded: bool = False
    """``time`` is what an old picture says of itself: durations count by it, not by the clock."""

    def __post_init__(self) -> None:
        """Have a name that can be told, whatever bytes a file's name has."""
        object.__setattr__(self, "source", printable(self.source))


class Camera(Protocol):
    """A source of frames, used from one thread."""

    live: bool
    """Only the newest frame matters; otherwise no frame may be left out."""
    interval_seconds: float
    """From one frame to the next; whoever calls :meth:`capture` keeps this rhythm."""

    def capture(self) -> Frame | None:
        """Wait for the next frame; None when there will be no more.

        Raises:
            ImageError: this frame cannot be read; the next may be.
            CameraError: the camera must be opened again.
        """
        ...

    def close(self) -> None:
        """Let the camera go; doing so twice is fine."""
        ...


def open_camera(
    config: CameraConfig,
    spec: InputSpec,
    view: View = View(),  # noqa: B008 - frozen
    time_zone: str | None = None,
) -> Camera:
    """Open the camera for a model with the input `spec` that looks at frames as `view` says.

    `time_zone` is that of times in replayed photos which name none.

    Raises:
        CameraError: it cannot be opened; the message names the cure.
    """
    kind = str(msgspec.structs.asdict(config).get("kind") or config.__struct_config__.tag)
    module, _, attribute = CAMERAS[kind].partition(":")
    make: Any = getattr(import_module(module), attribute)
    if isinstance(config, FolderCamera):
        make = partial(make, time_zone=time_zone)
    camera: Camera = make(config, spec, view)
    return camera
