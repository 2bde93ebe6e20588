"""``[camera]`` and ``[view]``: where frames come from, and which parts of them count."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from edge.config.section import Section


class FolderCamera(Section, tag_field="kind", tag="folder", frozen=True, kw_only=True):
    """``[camera]`` with ``kind = "folder"``: replays picture files. No frame is left out."""

    path: Path
    """A folder, a picture, or a pattern such as ``photos/**/*.jpg``."""
    frames_per_second: Annotated[float, Meta(gt=0, le=1000)] | None = None
    """Frames per second. Unset: as fast as they are classified."""
    loop: bool = False
    """Start again after the last picture instead of ending."""
    time: Literal["now", "exif"] = "now"
    """Time of a frame: when it was read, or what its EXIF data say, in ``trigger.time_zone`` unless
    they say else (see docs/device/configure.md)."""
    order: Literal["name", "time"] = "name"
    """Sort the files by name, or by modification time."""


class Picamera2Camera(Section, tag_field="kind", tag="picamera2", frozen=True, kw_only=True):
    """``[camera]`` with ``kind = "picamera2"``: a Raspberry Pi camera."""

    index: Annotated[int, Meta(ge=0, le=7)] = 0
    """Which camera, as ``rpicam-hello --list-cameras`` numbers them."""
    width: Annotated[int, Meta(ge=64, le=9248)] = 1920
    """Pixels of the evidence picture."""
    height: Annotated[int, Meta(ge=64, le=6944)] = 1080
    """Pixels of the evidence picture."""
    interval_seconds: Annotated[float, Meta(ge=0, le=86400)] = 1.0
    """Seconds from one frame to the next; 0: as fast as they are classified."""
    warm_up_seconds: Annotated[float, Meta(ge=0, le=60)] = 2.0
    """Seconds for exposure and white balance to settle after opening."""
    rotation: Literal[0, 180] = 0
    """Degrees by which the camera is mounted rotated."""
    focus_metres: Annotated[float, Meta(ge=0.02, le=1000)] | None = None
    """Distance to focus at, in metres (Camera Module 3). Unset: continuous autofocus."""
    exposure_microseconds: Annotated[int, Meta(ge=1, le=200_000_000)] | None = None
    """Fixed exposure time in microseconds. Unset: automatic."""


class V4l2Camera(Section, tag_field="kind", tag="v4l2", frozen=True, kw_only=True):
    """``[camera]`` with ``kind = "v4l2"``: a USB camera."""

    device: Path = Path("/dev/video0")
    """The device node; ``/dev/v4l/by-id/...`` stays the same after replugging."""
    width: Annotated[int, Meta(ge=64, le=8192)] = 1280
    """Pixels asked for; the camera may choose its nearest."""
    height: Annotated[int, Meta(ge=64, le=8192)] = 720
    """Pixels asked for."""
    interval_seconds: Annotated[float, Meta(ge=0, le=86400)] = 1.0
    """Seconds from one frame to the next; 0: as fast as they are classified."""
    format: Literal["auto", "mjpeg", "yuyv"] = "auto"
    """What to ask the camera for; ``auto`` prefers MJPEG."""
    timeout_seconds: Annotated[float, Meta(ge=0.1, le=60)] = 5.0
    """Seconds without a frame after which the camera counts as vanished."""


Camera = FolderCamera | Picamera2Camera | V4l2Camera


Share = Annotated[float, Meta(ge=0, le=1)]
"""From 0 (left, top) to 1 (right, bottom) of the picture."""


class View(Section, frozen=True, kw_only=True):
    """``[view]``: which parts of a picture are looked at."""

    regions: tuple[tuple[Share, Share, Share, Share], ...] = ()
    """Left, top, right, bottom as shares (0..1) of the picture. None given: the whole picture."""
    tiles: (
        Annotated[int, Meta(ge=16, le=8192)]
        # Not tuple[int, int]: beside a bounded int, msgspec 0.22 crashes on it.
        | Annotated[tuple[Annotated[int, Meta(ge=1, le=32)], ...], Meta(min_length=2, max_length=2)]
        | None
    ) = None
    """Cut each region into ``[columns, rows]``, or into squares of so many pixels a side of the
    picture as it was taken. Unset: each region goes to the model as one."""
    overlap: Annotated[float, Meta(ge=0, le=0.9)] = 0.2
    """Share of a tile that its neighbour shows too, so that what lies on an edge is seen whole."""
    mask_polygons: tuple[Annotated[tuple[tuple[Share, Share], ...], Meta(min_length=3)], ...] = ()
    """Areas that are painted over, each by its corners (x, y) as shares (0..1) of the picture."""
    mask: Path | None = None
    """A picture of the frame, in any size: what is black in it is painted over."""
    max_masked: Share = 0.5
    """Tiles of which a larger share is painted over are left out."""
