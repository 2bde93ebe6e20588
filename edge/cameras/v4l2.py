"""USB cameras through Video4Linux2: MJPEG or YUYV, memory-mapped buffers, no library in between.

The structs and request numbers are those of ``linux/videodev2.h``, see
:mod:`edge.cameras.v4l2_abi`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import select
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from edge.cameras import Frame
from edge.cameras import v4l2_abi as abi
from edge.cameras.photo import as_jpeg, encode_jpeg
from edge.config import V4l2Camera, View
from edge.errors import CameraError, ImageError
from edge.model.image.preprocessing import InputSpec
from edge.model.tiles import see

if TYPE_CHECKING:
    from edge.model.image.preprocessing import Pixels

_OLDEST_SECONDS = 600.0
"""Age of a frame beyond which its time is not believed."""
_MOST_PIXELS = 16_384
"""A side."""
_BUFFERS = 3


class V4l2:
    """A camera behind a ``/dev/video`` node.

    Raises:
        CameraError: no such device, no camera, or no format that is known here.
    """

    live = True

    def __init__(
        self,
        config: V4l2Camera,
        spec: InputSpec,
        view: View = View(),  # noqa: B008 - frozen
    ) -> None:
        self._config, self._spec, self._view = config, spec, view
        self.interval_seconds = config.interval_seconds
        self._maps: list[mmap.mmap] = []
        self._streaming = False
        self._fd = self._open()
        try:
            self._check_capable()
            self._format, self.width, self.height, self._stride = self._negotiate()
            self._map_buffers()
            self._ioctl(abi.VIDIOC_STREAMON, abi.int_argument(abi.BUF_TYPE_VIDEO_CAPTURE))
            self._streaming = True
        except BaseException:
            self.close()
            raise

    def capture(self) -> Frame | None:
        """Wait for the next frame.

        Raises:
            ImageError: this frame is damaged.
            CameraError: none came in time, or the camera was unplugged.
        """
        data, taken = self._newest()
        if self._format == abi.PIX_FMT_MJPEG:
            pixels = see(data, self._spec, self._view)
            jpeg = lambda: as_jpeg(data)  # noqa: E731
        else:
            pixels = yuyv_to_rgb(data, self.width, self.height, self._stride, self._full_range)
            jpeg = lambda: encode_jpeg(pixels)  # noqa: E731
        return Frame(
            pixels=pixels,
            time=taken,
            source=str(self._config.device),
            width=self.width,
            height=self.height,
            jpeg=jpeg,
        )

    def close(self) -> None:
        """Let the camera go; doing so twice is fine."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        if self._streaming:
            with contextlib.suppress(OSError):  # an unplugged camera has stopped already
                fcntl.ioctl(fd, abi.VIDIOC_STREAMOFF, abi.int_argument(abi.BUF_TYPE_VIDEO_CAPTURE))
        for mapped in self._maps:
            mapped.close()
        self._maps = []
        os.close(fd)

    def _open(self) -> int:
        device = self._config.device
        try:
            return os.open(device, os.O_RDWR | os.O_NONBLOCK)
        except OSError as error:
            cures = {
                errno.ENOENT: "plug the camera in; `ls /dev/v4l/by-id` lists what is there",
                errno.EACCES: "add this user to the group video",
                errno.EBUSY: "stop the other program that uses it",
            }
            cure = cures.get(error.errno or 0, "check camera.device")
            raise CameraError(
                f"camera.device: cannot open {device}: {error.strerror}; {cure}"
            ) from (error)

    def _check_capable(self) -> None:
        capability = abi.Capability()
        try:
            self._ioctl(abi.VIDIOC_QUERYCAP, capability)
        except CameraError as error:
            raise CameraError(
                f"camera.device: {self._config.device} is not a video device; choose another"
            ) from error
        has = capability.device_caps or capability.capabilities
        if not (has & abi.CAP_VIDEO_CAPTURE and has & abi.CAP_STREAMING):
            raise CameraError(
                f"camera.device: {self._config.device} "
                f"({capability.card.decode(errors='replace')}) is not a camera that streams; "
                "cameras often have two nodes, try the other"
            )

    def _negotiate(self) -> tuple[int, int, int, int]:
        """Agree on format, width, height and bytes a row."""
        wanted = {
            "auto": (abi.PIX_FMT_MJPEG, abi.PIX_FMT_YUYV),
            "mjpeg": (abi.PIX_FMT_MJPEG,),
            "yuyv": (abi.PIX_FMT_YUYV,),
        }[self._config.format]
        for code in wanted:
            form = abi.Format()
            form.type = abi.BUF_TYPE_VIDEO_CAPTURE
            form.pix.width, form.pix.height = self._config.width, self._config.height
            form.pix.pixelformat, form.pix.field = code, abi.FIELD_ANY
            self._ioctl(abi.VIDIOC_S_FMT, form)
            if form.pix.pixelformat == code:
                self._full_range = (
                    form.pix.quantization == abi.QUANTIZATION_FULL_RANGE
                    or form.pix.colorspace == abi.COLORSPACE_JPEG
                )
                return believed(code, form.pix.width, form.pix.height, form.pix.bytesperline)
        raise CameraError(
            f"{self._config.device} offers none of {', '.join(map(abi.fourcc_name, wanted))}; "
            '`v4l2-ctl --list-formats-ext` shows what it has; try camera.format = "auto"'
        )

    def _map_buffers(self) -> None:
        request = abi.RequestBuffers()
        request.count, request.type = _BUFFERS, abi.BUF_TYPE_VIDEO_CAPTURE
        request.memory = abi.MEMORY_MMAP
        self._ioctl(abi.VIDIOC_REQBUFS, request)
        if request.count < 2:
            raise CameraError(f"{self._config.device} has no memory for buffers")
        for index in range(request.count):
            buffer = self._buffer(index)
            self._ioctl(abi.VIDIOC_QUERYBUF, buffer)
            self._maps.append(
                mmap.mmap(self._fd, buffer.length, mmap.MAP_SHARED, offset=buffer.m.offset)
            )
            self._ioctl(abi.VIDIOC_QBUF, buffer)

    def _newest(self) -> tuple[bytes, datetime]:
        """Return the newest frame's bytes and time; older ones go back to the camera unseen."""
        deadline = time.monotonic() + self._config.timeout_seconds
        stale = True
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                raise CameraError(
                    f"{self._config.device} gave no frame for "
                    f"{self._config.timeout_seconds:g} s; unplug it and plug it in again"
                )
            buffer = self._buffer(0)
            self._ioctl(abi.VIDIOC_DQBUF, buffer)
            if buffer.index >= len(self._maps):
                raise CameraError(f"{self._config.device} names a buffer that does not exist")
            age = self._age(buffer)
            ready = select.select([self._fd], [], [], 0)[0]
            # Buffers that filled while nobody looked are old: skip them, then take one fresh frame.
            skip = ready or (stale and age > 0.5) or buffer.flags & abi.BUF_FLAG_ERROR
            stale = stale and bool(ready)
            data = b"" if skip else self._maps[buffer.index][: buffer.bytesused]
            self._ioctl(abi.VIDIOC_QBUF, buffer)
            if not skip:
                return data, datetime.now(UTC) - timedelta(seconds=age)

    def _age(self, buffer: abi.Buffer) -> float:
        """Seconds since the frame was taken; 0 where the driver's clock is another, or makes
        no sense: some drivers leave the time at 0, which would be when the computer started.
        """
        if buffer.flags & abi.BUF_FLAG_TIMESTAMP_MASK != abi.BUF_FLAG_TIMESTAMP_MONOTONIC:
            return 0.0
        taken: float = buffer.timestamp.tv_sec + buffer.timestamp.tv_usec / 1e6
        age = time.clock_gettime(time.CLOCK_MONOTONIC) - taken
        return age if 0 <= age <= _OLDEST_SECONDS else 0.0

    def _buffer(self, index: int) -> abi.Buffer:
        buffer = abi.Buffer()
        buffer.index, buffer.type = index, abi.BUF_TYPE_VIDEO_CAPTURE
        buffer.memory = abi.MEMORY_MMAP
        return buffer

    def _ioctl(self, request: int, argument: abi.Argument) -> None:
        while True:
            try:
                fcntl.ioctl(self._fd, request, argument)
                return
            except InterruptedError:
                continue
            except OSError as error:
                raise CameraError(
                    f"{self._config.device}: {abi.REQUEST_NAMES[request]}: {error.strerror}; "
                    "the camera was unplugged, or another program uses it"
                ) from error


def believed(code: int, width: int, height: int, stride: int) -> tuple[int, int, int, int]:
    """Return what a driver answered, if it makes sense. Raises CameraError."""
    rows = code != abi.PIX_FMT_YUYV or (width % 2 == 0 and (stride == 0 or stride >= 2 * width))
    if not (0 < width <= _MOST_PIXELS and 0 < height <= _MOST_PIXELS and rows):
        raise CameraError(
            f"the camera answers with {width} x {height} pixels of {abi.fourcc_name(code)} and "
            f"{stride} bytes a row, which is impossible; try another camera.width and height"
        )
    return code, width, height, stride


def yuyv_to_rgb(
    data: bytes, width: int, height: int, stride: int = 0, full_range: bool = False
) -> Pixels:
    """Turn YUYV (4:2:2, BT.601) into uint8 (height, width, 3) RGB. Raises ImageError if short.

    `stride` is bytes a row, 0 for no padding. USB cameras use the range 16..235 unless they say
    otherwise (USB Video Class 1.5, colour matching descriptor).
    """
    stride = stride or width * 2
    if len(data) < stride * (height - 1) + width * 2:
        raise ImageError(f"a frame of {len(data)} bytes is too short for {width} x {height} YUYV")
    padded = np.frombuffer(data.ljust(stride * height, b"\0"), np.uint8)[: stride * height]
    rows = padded.reshape(height, stride)[:, : width * 2].reshape(height, width // 2, 4)
    if not full_range:
        rows = np.where([True, False, True, False], _LUMA[rows], _CHROMA[rows])
    ycbcr = np.empty((height, width, 3), np.uint8)
    ycbcr[:, 0::2, 0], ycbcr[:, 1::2, 0] = rows[:, :, 0], rows[:, :, 2]
    for channel, position in ((1, 1), (2, 3)):
        ycbcr[:, 0::2, channel] = ycbcr[:, 1::2, channel] = rows[:, :, position]
    pixels: Pixels = np.asarray(Image.frombuffer("YCbCr", (width, height), ycbcr).convert("RGB"))
    return pixels


_LEVELS = np.arange(256)
_LUMA = np.clip(np.rint((_LEVELS - 16) * 255 / 219), 0, 255).astype(np.uint8)
_CHROMA = np.clip(np.rint((_LEVELS - 128) * 255 / 224 + 128), 0, 255).astype(np.uint8)
