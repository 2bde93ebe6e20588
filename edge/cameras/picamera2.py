"""Raspberry Pi cameras through picamera2, which comes with Raspberry Pi OS (apt), not from PyPI.

The image signal processor scales: a small ``lores`` stream feeds the model, the full ``main``
stream is kept for evidence. Up to the Pi 4 ``lores`` must be YUV420, so it is YUV420 everywhere.
Both streams keep the same shape of picture, so that nothing is squeezed; cropping to the model's
square stays with the model's own rule.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.cameras import Frame
from edge.cameras.photo import encode_jpeg
from edge.config import Picamera2Camera, View
from edge.errors import CameraError
from edge.model.image.preprocessing import InputSpec
from edge.model.tiles import Size, in_parts, needed
from edge.system.clock import boot_seconds
from edge.system.optional_packages import load

if TYPE_CHECKING:
    from edge.model.image.preprocessing import Pixels

_TIMEOUT_SECONDS = 10.0
"""Without a frame for so long, the camera counts as vanished (a loose ribbon cable)."""


class Picamera2:
    """A Raspberry Pi camera.

    Raises:
        CameraError: picamera2 is not installed, or there is no such camera.
    """

    live = True

    def __init__(
        self,
        config: Picamera2Camera,
        spec: InputSpec,
        view: View = View(),  # noqa: B008 - frozen
    ) -> None:
        library, libcamera = _libraries()
        self._size = (config.width, config.height)
        self._name = f"picamera2:{config.index}"
        self.interval_seconds = config.interval_seconds
        self._camera: Any = None
        try:
            self._camera = library.Picamera2(config.index)
            least = needed(view, spec, self._size) if in_parts(view) else (spec.width, spec.height)
            self._configure(config, least, libcamera)
            self._camera.start()
        except (RuntimeError, IndexError, ValueError, OSError) as error:
            self.close()
            raise CameraError(
                f"camera {config.index} cannot be opened: {error}; `rpicam-hello --list-cameras` "
                "lists what is connected; another program may hold it"
            ) from error
        time.sleep(config.warm_up_seconds)

    def _configure(self, config: Picamera2Camera, least: Size, libcamera: Any) -> None:  # noqa: ANN401
        half_turn = int(config.rotation == 180)
        controls: dict[str, Any] = {"FrameDurationLimits": (33_333, 1_000_000)}
        if config.exposure_microseconds:
            controls |= {"ExposureTime": config.exposure_microseconds, "AeEnable": False}
        if "AfMode" in self._camera.camera_controls:
            modes = libcamera.controls.AfModeEnum
            if config.focus_metres:  # LensPosition is in dioptres
                controls |= {"AfMode": modes.Manual, "LensPosition": 1 / config.focus_metres}
            else:
                controls |= {"AfMode": modes.Continuous}
        small = lores_size(self._size, least)
        # Where tiles need the large stream's every pixel, it serves the model too.
        lores = None if small == self._size else {"size": small, "format": "YUV420"}
        self._camera.configure(
            self._camera.create_video_configuration(
                main={"size": self._size, "format": "BGR888"},  # in memory: red, green, blue
                lores=lores,
                transform=libcamera.Transform(hflip=half_turn, vflip=half_turn),
                colour_space=libcamera.ColorSpace.Sycc(),  # full range, as in a JPEG
                buffer_count=3,
                controls=controls,
                display=None,
                encode=None,
                queue=False,  # a frame taken after it was asked for, not one kept since the last
            )
        )
        applied = self._camera.camera_configuration()
        self._small = lores is not None
        self._size = tuple(applied["main"]["size"])
        self._lores_size = tuple(applied["lores"]["size"]) if lores else self._size

    def capture(self) -> Frame | None:
        """Wait for the next frame. Raises CameraError when none comes."""
        request = self._request()
        try:
            main = request.make_array("main")
            planes = request.make_array("lores") if self._small else None
            taken = request.get_metadata().get("SensorTimestamp")
        except RuntimeError as error:
            raise CameraError(f"{self._name}: {error}") from error
        finally:
            request.release()
        width, height = self._size
        return Frame(
            pixels=main if planes is None else yuv420_to_rgb(planes, *self._lores_size),
            time=_wall_time(taken),
            source=self._name,
            width=width,
            height=height,
            jpeg=lambda: encode_jpeg(main),
        )

    def close(self) -> None:
        """Let the camera go; doing so twice is fine."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()

    def _request(self) -> Any:  # noqa: ANN401 - picamera2 has no types
        """Get a frame; picamera2's own waiting has no time limit in older versions."""
        if self._camera is None:
            raise CameraError(f"{self._name} is closed")
        done = threading.Event()
        job = self._camera.capture_request(wait=False, signal_function=lambda _: done.set())
        if not done.wait(_TIMEOUT_SECONDS):
            raise CameraError(
                f"{self._name} gave no frame for {_TIMEOUT_SECONDS:g} s; check the ribbon cable"
            )
        return job.get_result()


def _libraries() -> tuple[Any, Any]:
    use = 'camera.kind = "picamera2"'
    install = (
        "sudo apt install python3-picamera2, and make the virtual environment with "
        "--system-site-packages"
    )
    libcamera = load("libcamera", CameraError, use, install)
    return load("picamera2", CameraError, use, install), libcamera


def lores_size(main: Size, least: Size) -> Size:
    """The smallest even size of main's shape that covers (width, height), if main does."""
    scale = min(1.0, max(least[0] / main[0], least[1] / main[1]))
    width, height = (2 * ceil(side * scale / 2 - 1e-9) for side in main)
    return min(width, main[0]), min(height, main[1])


def yuv420_to_rgb(planes: NDArray[np.uint8], width: int, height: int) -> Pixels:
    """Turn a full-range BT.601 YUV420 buffer into uint8 (height, width, 3) RGB.

    `planes` is (height * 3 / 2, stride): the luma rows, then both chroma planes, whose rows are
    half a stride long, two to a row. `stride` may exceed `width`: hardware pads.
    """
    stride = planes.shape[1]
    luma = planes[:height, :width]
    chroma = planes[height : height * 3 // 2].reshape(2, height // 2, stride // 2)
    bands = [Image.fromarray(np.ascontiguousarray(luma))]
    bands += [
        Image.fromarray(np.ascontiguousarray(plane[:, : width // 2])).resize(
            (width, height), Image.Resampling.BILINEAR
        )
        for plane in chroma
    ]
    pixels: Pixels = np.asarray(Image.merge("YCbCr", bands).convert("RGB"))
    return pixels


def _wall_time(sensor_ns: int | None) -> datetime:
    """Turn nanoseconds since boot (libcamera's SensorTimestamp) into the time of day."""
    now = datetime.now(UTC)
    if sensor_ns is None:
        return now
    age = boot_seconds() - sensor_ns / 1e9
    return now - timedelta(seconds=age) if 0 <= age < 60 else now
