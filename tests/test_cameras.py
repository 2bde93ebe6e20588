"""Cameras: what is replayed, what a driver answers, and what a picture says of itself."""

from __future__ import annotations

import ctypes
import io
import zlib
from datetime import UTC, datetime
from pathlib import Path

import devices
import numpy as np
import pytest
from patience import PATIENCE, wait_for
from PIL import Image
from there import there

from edge.cameras import CAMERAS, open_camera, v4l2_abi
from edge.cameras import v4l2_abi as abi
from edge.cameras.folder import Folder
from edge.cameras.photo import as_jpeg, encode_jpeg, facts, shrink_jpeg
from edge.cameras.picamera2 import lores_size, yuv420_to_rgb
from edge.cameras.reader import Reader
from edge.cameras.v4l2 import believed, yuyv_to_rgb
from edge.config import FolderCamera, Picamera2Camera, V4l2Camera
from edge.errors import CameraError, ImageError
from edge.model.image.preprocessing import InputSpec, load
from edge.system.counters import Counters

SPEC = InputSpec(width=32, height=32)


def folder(path: Path, **settings) -> Folder:
    """Open a replay camera."""
    return Folder(FolderCamera(path=path, **settings), SPEC)


def names(camera: Folder, count: int = 100) -> list[str]:
    """Read the names of up to `count` frames."""
    found: list[str] = []
    while len(found) < count and (frame := camera.capture()) is not None:
        found.append(frame.source)
    return found


def test_a_folder_is_replayed_by_name_with_its_subfolders(tmp_path):
    """Pictures of any format, in order, once; other files are left out."""
    for name in ("b/2.png", "a/1.jpg", "c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        form = {"png": "PNG", "jpg": "JPEG", "ebp": "WEBP"}[name[-3:]]
        (tmp_path / name).write_bytes(devices.photo("aphid", form=form))
    (tmp_path / "notes.txt").write_text("x")
    camera = folder(tmp_path)
    assert names(camera) == ["a/1.jpg", "b/2.png", "c.webp"]
    assert camera.capture() is None


def test_a_pattern_or_a_file_chooses_pictures(tmp_path):
    """`path` may be a glob pattern or one file; looping begins again."""
    devices.photos(tmp_path / "p", 4)
    assert names(folder(tmp_path / "p" / "*beetle*")) == ["00001-beetle.jpg"]
    one = folder(tmp_path / "p" / "00000-aphid.jpg", loop=True)
    assert names(one, 3) == ["00000-aphid.jpg"] * 3


def test_an_empty_or_missing_path_is_named(tmp_path):
    """The message says which setting to change."""
    with pytest.raises(CameraError, match=r"camera\.path: there is no .*/none"):
        folder(tmp_path / "none")
    with pytest.raises(CameraError, match=r"camera\.path: no picture in"):
        folder(tmp_path)


def test_frames_are_what_training_sees_and_keep_their_true_size(tmp_path):
    """A large photo is decoded small exactly as `edge.model.image.preprocessing.load` does; its
    size stays known.
    """
    data = devices.photo("beetle", (1920, 1080))
    (tmp_path / "a.jpg").write_bytes(data)
    frame = there(folder(tmp_path).capture())
    assert np.array_equal(frame.pixels, load(data, SPEC))
    assert (frame.width, frame.height) == (1920, 1080)
    assert frame.jpeg() == data


def exif_photo() -> bytes:
    """Make a sideways photo with a time in Dhaka and a place."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769).update({0x9003: "2026:06:21 15:30:12", 0x9011: "+06:00", 0x9291: "250"})
    exif.get_ifd(0x8825).update(
        {1: "N", 2: (23.0, 48.0, 36.0), 3: "W", 4: (90.0, 24.0, 45.0), 5: b"\x01", 6: 4.5}
    )
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (9, 99, 9)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_exif_gives_time_place_and_upright_size(tmp_path):
    """The time comes out in UTC; south and west are negative, below the sea too."""
    (tmp_path / "a.jpg").write_bytes(exif_photo())
    frame = there(folder(tmp_path, time="exif").capture())
    assert frame.time == datetime(2026, 6, 21, 9, 30, 12, 250000, UTC)
    assert (frame.width, frame.height) == (48, 64)
    place = there(frame.location)
    assert (round(place.lat, 4), round(place.lon, 4), place.alt) == (23.81, -90.4125, -4.5)
    now = there(folder(tmp_path).capture()).time
    assert abs((datetime.now(UTC) - now).total_seconds()) < 5


@pytest.mark.parametrize("value", ["0000:00:00 00:00:00", "yesterday", ""])
def test_a_nonsense_exif_time_counts_as_none(value):
    """Cameras without a clock write zeros."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = value
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=exif)
    assert facts(buffer.getvalue()).time is None


def test_evidence_fits_its_budget():
    """Small pictures pass as they are; large ones shrink in size, then quality; else none."""
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3)).astype(np.uint8)
    big = encode_jpeg(noise, 95)
    small = there(shrink_jpeg(big, 40_000, 500))
    assert len(small) <= 40_000
    assert max(facts(small).width, facts(small).height) <= 500
    assert shrink_jpeg(small, 40_000, 500) is small
    assert shrink_jpeg(big, 500, 500) is None
    assert len(there(shrink_jpeg(big, 40_000))) <= 40_000
    assert as_jpeg(devices.photo("leaf", form="PNG"))[:2] == b"\xff\xd8"


def test_every_camera_in_the_table_has_a_configuration_of_its_kind():
    """The table and the configuration name the same cameras."""
    kinds = {c.__struct_config__.tag for c in (FolderCamera, Picamera2Camera, V4l2Camera)}
    assert kinds == set(CAMERAS)


def test_without_picamera2_the_cure_is_named():
    """Elsewhere than on Raspberry Pi OS the error says what to install."""
    try:
        import picamera2  # noqa: F401
    except ImportError:
        with pytest.raises(CameraError, match="sudo apt install python3-picamera2"):
            open_camera(Picamera2Camera(), SPEC)
    else:
        pytest.skip("picamera2 is installed here")


def test_yuv420_with_padding_becomes_the_right_colours():
    """The ISP pads rows; colours come out within a few levels of Pillow's own conversion."""
    rgb = np.zeros((48, 80, 3), np.uint8)
    rgb[:, :40], rgb[:, 40:] = (200, 40, 60), (30, 160, 90)
    y, cb, cr = (np.asarray(b) for b in Image.fromarray(rgb).convert("YCbCr").split())
    stride = 128
    planes = np.full((72, stride), 7, np.uint8)
    planes[:48, :80] = y
    chroma = planes[48:].reshape(2, 24, stride // 2)
    chroma[0, :, :40], chroma[1, :, :40] = cb[::2, ::2], cr[::2, ::2]
    found = yuv420_to_rgb(planes, 80, 48).astype(int)
    assert found.shape == rgb.shape
    inner = np.abs(found - rgb)[:, [*range(38), *range(42, 80)]]
    assert inner.max() <= 3


@pytest.mark.parametrize(
    ("main", "side", "expected"),
    [((1920, 1080), 224, (400, 224)), ((640, 480), 96, (128, 96)), ((200, 100), 224, (200, 100))],
)
def test_the_small_stream_keeps_the_shape_of_the_large_one(main, side, expected):
    """Even sizes that cover the model's input, never beyond the main stream."""
    assert lores_size(main, (side, side)) == expected


@pytest.mark.parametrize(
    ("code", "width", "height", "stride", "sensible"),
    [
        (abi.PIX_FMT_YUYV, 640, 480, 1280, True),
        (abi.PIX_FMT_YUYV, 640, 480, 0, True),
        (abi.PIX_FMT_MJPEG, 641, 480, 0, True),
        (abi.PIX_FMT_YUYV, 641, 480, 1282, False),
        (abi.PIX_FMT_YUYV, 640, 480, 640, False),
        (abi.PIX_FMT_MJPEG, 0, 480, 0, False),
        (abi.PIX_FMT_MJPEG, 640, 4_000_000_000, 0, False),
    ],
)
def test_what_a_driver_answers_must_make_sense(code, width, height, stride, sensible):
    """Else the camera is in trouble, not a thread of the program."""
    if sensible:
        assert believed(code, width, height, stride) == (code, width, height, stride)
    else:
        with pytest.raises(CameraError, match="which is impossible"):
            believed(code, width, height, stride)


def test_yuyv_in_both_ranges():
    """White and black of a USB camera (16..235) become 255 and 0; full range stays."""
    row = bytes([235, 128, 16, 128]) * 2
    found = yuyv_to_rgb(row * 2, 4, 2)
    assert found[0, 0].tolist() == [255] * 3
    assert found[0, 1].tolist() == [0] * 3
    assert yuyv_to_rgb(row * 2, 4, 2, full_range=True)[0, 0].tolist() == [235] * 3
    padded = (row + b"\xff" * 8) * 2
    assert np.array_equal(yuyv_to_rgb(padded, 4, 2, stride=16), found)
    with pytest.raises(ImageError, match="too short"):
        yuyv_to_rgb(row, 4, 2)


def test_the_v4l2_structs_are_the_kernels():
    """Request numbers hold the struct sizes: these are what a C compiler gives on 64 bits."""
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        pytest.skip("the numbers below are those of 64-bit machines")
    expected = {
        "VIDIOC_QUERYCAP": 0x80685600,
        "VIDIOC_S_FMT": 0xC0D05605,
        "VIDIOC_REQBUFS": 0xC0145608,
        "VIDIOC_QUERYBUF": 0xC0585609,
        "VIDIOC_QBUF": 0xC058560F,
        "VIDIOC_DQBUF": 0xC0585611,
        "VIDIOC_STREAMON": 0x40045612,
        "VIDIOC_STREAMOFF": 0x40045613,
    }
    assert {name: number for number, name in v4l2_abi.REQUEST_NAMES.items()} == expected


def test_v4l2_errors_name_path_and_cure(tmp_path):
    """A missing device and a device that is no camera are told apart."""
    with pytest.raises(CameraError, match=r"cannot open /dev/video99.*plug the camera in"):
        open_camera(V4l2Camera(device=Path("/dev/video99")), SPEC)
    with pytest.raises(CameraError, match=r"/dev/null is not a video device; choose another"):
        open_camera(V4l2Camera(device=Path("/dev/null")), SPEC)
    (tmp_path / "plain").touch()
    with pytest.raises(CameraError, match="is not a video device"):
        open_camera(V4l2Camera(device=tmp_path / "plain"), SPEC)


def test_a_header_of_absurd_size_is_no_picture():
    """A PNG that claims 23 gigapixels is refused by name, before anything is decoded."""
    png = bytearray(devices.photo("leaf", form="PNG"))
    png[16:24] = (153_024).to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    with pytest.raises(ImageError, match="header cannot be read: Image size"):
        facts(bytes(png))


def test_a_folder_that_vanishes_is_a_camera_that_vanishes(tmp_path):
    """Its pictures are not bad ones: the reader waits for it, and begins again when it is back."""
    devices.photos(tmp_path / "photos", 3)
    config, counters = FolderCamera(path=tmp_path / "photos", loop=True), Counters()
    reader = Reader(lambda: Folder(config, SPEC), counters, retry_min_seconds=0.05)
    reader.start()
    assert reader.next(PATIENCE)
    (tmp_path / "photos").rename(tmp_path / "pulled out")
    wait_for(lambda: reader.next(0.05) is None and counters.problems())
    assert counters.problems()[0].startswith("camera: ")
    assert counters["frames_bad"] == 0
    (tmp_path / "pulled out").rename(tmp_path / "photos")
    wait_for(lambda: reader.next(0.05) and not counters.problems())
    assert counters.problems() == ()
    reader.close()
