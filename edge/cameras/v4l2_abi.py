"""The part of ``linux/videodev2.h`` that capturing needs, laid out by ctypes for any machine."""

from __future__ import annotations

import ctypes
from ctypes import Structure, Union, c_char, c_int32, c_long, c_uint8, c_uint32, c_void_p


class Capability(Structure):
    """``struct v4l2_capability``."""

    _fields_ = (
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class PixFormat(Structure):
    """``struct v4l2_pix_format``."""

    _fields_ = (
        ("width", c_uint32),
        ("height", c_uint32),
        ("pixelformat", c_uint32),
        ("field", c_uint32),
        ("bytesperline", c_uint32),
        ("sizeimage", c_uint32),
        ("colorspace", c_uint32),
        ("priv", c_uint32),
        ("flags", c_uint32),
        ("ycbcr_enc", c_uint32),
        ("quantization", c_uint32),
        ("xfer_func", c_uint32),
    )


class _FormatUnion(Union):
    # A pointer in another member of the kernel's union aligns it to the machine's word.
    _fields_ = (("pix", PixFormat), ("raw", c_uint8 * 200), ("align", c_void_p))


class Format(Structure):
    """``struct v4l2_format``."""

    _anonymous_ = ("fmt",)
    _fields_ = (("type", c_uint32), ("fmt", _FormatUnion))


class RequestBuffers(Structure):
    """``struct v4l2_requestbuffers``."""

    _fields_ = (
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("flags", c_uint8),
        ("reserved", c_uint8 * 3),
    )


class Timeval(Structure):
    """``struct timeval``."""

    _fields_ = (("tv_sec", c_long), ("tv_usec", c_long))


class _Timecode(Structure):
    _fields_ = (
        ("type", c_uint32),
        ("flags", c_uint32),
        ("frames", c_uint8),
        ("seconds", c_uint8),
        ("minutes", c_uint8),
        ("hours", c_uint8),
        ("userbits", c_uint8 * 4),
    )


class _Memory(Union):
    _fields_ = (("offset", c_uint32), ("userptr", ctypes.c_ulong), ("planes", c_void_p))


class Buffer(Structure):
    """``struct v4l2_buffer``."""

    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("bytesused", c_uint32),
        ("flags", c_uint32),
        ("field", c_uint32),
        ("timestamp", Timeval),
        ("timecode", _Timecode),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("m", _Memory),
        ("length", c_uint32),
        ("reserved2", c_uint32),
        ("request_fd", c_int32),
    )


Argument = Capability | Format | RequestBuffers | Buffer | bytearray
"""What an ioctl takes."""

_WRITE, _READ = 1, 2


def _request(direction: int, number: int, size: int) -> int:
    """Compose a request number as ``asm-generic/ioctl.h`` does (x86, Arm, RISC-V)."""
    return direction << 30 | size << 16 | ord("V") << 8 | number


def fourcc(name: str) -> int:
    """The number of a pixel format."""
    return int.from_bytes(name.encode("ascii"), "little")


def fourcc_name(code: int) -> str:
    """The name of a pixel format."""
    return code.to_bytes(4, "little").decode("ascii", errors="replace")


def int_argument(value: int) -> bytearray:
    """A C ``int`` as the argument of an ioctl."""
    return bytearray(c_int32(value))


VIDIOC_QUERYCAP = _request(_READ, 0, ctypes.sizeof(Capability))
VIDIOC_S_FMT = _request(_READ | _WRITE, 5, ctypes.sizeof(Format))
VIDIOC_REQBUFS = _request(_READ | _WRITE, 8, ctypes.sizeof(RequestBuffers))
VIDIOC_QUERYBUF = _request(_READ | _WRITE, 9, ctypes.sizeof(Buffer))
VIDIOC_QBUF = _request(_READ | _WRITE, 15, ctypes.sizeof(Buffer))
VIDIOC_DQBUF = _request(_READ | _WRITE, 17, ctypes.sizeof(Buffer))
VIDIOC_STREAMON = _request(_WRITE, 18, ctypes.sizeof(c_int32))
VIDIOC_STREAMOFF = _request(_WRITE, 19, ctypes.sizeof(c_int32))

REQUEST_NAMES = {
    number: name for name, number in list(globals().items()) if name.startswith("VIDIOC_")
}

CAP_VIDEO_CAPTURE, CAP_STREAMING = 0x00000001, 0x04000000
BUF_TYPE_VIDEO_CAPTURE = 1
MEMORY_MMAP = 1
FIELD_ANY = 0
QUANTIZATION_FULL_RANGE, COLORSPACE_JPEG = 1, 7
BUF_FLAG_ERROR = 0x00000040
BUF_FLAG_TIMESTAMP_MASK, BUF_FLAG_TIMESTAMP_MONOTONIC = 0x0000E000, 0x00002000
PIX_FMT_MJPEG, PIX_FMT_YUYV = fourcc("MJPG"), fourcc("YUYV")
