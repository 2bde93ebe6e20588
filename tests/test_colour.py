"""Pictures of every colour space and depth come out as the sRGB that one sees."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from there import there
from tiffs import tiff

from edge.errors import ImageError
from edge.model.image.icc_profiles import matrix_profile
from edge.model.image.preprocessing import decode

# Columns of red, green and blue in XYZ of D50, from the standards of each space (Bradford-adapted),
# and a gamma near each one's curve.
SRGB = ((0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410))
SPACES = {
    "Adobe RGB": (
        ((0.60974, 0.20528, 0.14919), (0.31111, 0.62567, 0.06322), (0.01947, 0.06087, 0.74457)),
        2.19921875,
    ),
    "Display P3": (
        ((0.51512, 0.29198, 0.15710), (0.24120, 0.69225, 0.06657), (-0.00105, 0.04189, 0.78407)),
        2.2,
    ),
    "ProPhoto RGB": (
        ((0.79767, 0.13519, 0.03134), (0.28804, 0.71188, 0.00009), (0.0, 0.0, 0.82521)),
        1.80078125,
    ),
}
SEEN = (200, 90, 60)
"""A colour in sRGB that each of the spaces can show."""


def stored_as(space: str) -> tuple[int, ...]:
    """The levels that stand for SEEN in another colour space, by its definition."""
    value = np.array(SEEN) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    matrix, gamma = SPACES[space]
    there = np.linalg.solve(np.array(matrix), np.array(SRGB) @ linear)
    return tuple(int(level) for level in np.round(255 * there ** (1 / gamma)))


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    """The file of a picture."""
    file = io.BytesIO()
    # Pillow leaves what one format needs on the picture, and trips over it in another.
    image.copy().save(file, form, **options)
    return file.getvalue()


def decoded(data: bytes) -> tuple[np.ndarray, list[str]]:
    """The pixels and the notes on them."""
    told: list[str] = []
    return decode(data, told=told.append), told


def plain(colour: float | tuple[float, ...] | str, mode: str = "RGB") -> Image.Image:
    """A picture of one colour."""
    return Image.new(mode, (16, 16), colour)


def grey_profile(gamma: float) -> bytes:
    """Make a grey profile (ICC version 2) of a gamma."""
    rgb = matrix_profile("grey", SRGB, gamma)
    return rgb.replace(b"mntrRGB ", b"mntrGRAY").replace(b"rTRC", b"kTRC")


def cmyk_profile() -> bytes:
    """Make a CMYK profile in which full cyan is a dark red, so that nobody gets it by chance."""
    corners = [(128, 190, 170) if c else (255, 128, 128) for c in (0, 1) for _ in range(8)]
    ramp = bytes(range(256))
    lut = struct.pack(">4xBBBx9i", 4, 3, 2, *(65536 * (i % 4 == 0) for i in range(9)))
    lut = b"mft1" + lut + 4 * ramp + bytes(v for corner in corners for v in corner) + 3 * ramp
    text = b"desc\0\0\0\0\0\0\0\x02x\0" + bytes(80)
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    head = bytes(12) + b"prtrCMYKLab " + bytes(12) + b"acsp" + bytes(28)
    head = struct.pack(">I4xI", 0, 0x02400000) + head[12:] + white[8:] + bytes(48)
    table, body = b"", b""
    for tag, value in ((b"A2B0", lut), (b"desc", text), (b"wtpt", white)):
        table += tag + struct.pack(">II", 128 + 4 + 36 + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    whole = head + struct.pack(">I", 3) + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_an_embedded_profile_is_converted(space, form):
    """A colour stored in a wide space comes out as one sees it, in every container."""
    profile = matrix_profile(space, *SPACES[space])
    best = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": 1}}
    data = encode(plain(stored_as(space)), form, icc_profile=profile, **best.get(form, {}))
    pixels, told = decoded(data)
    assert told == []
    assert np.abs(pixels.reshape(-1, 3).mean(0) - SEEN).max() < 3
    assert np.abs(np.array(stored_as(space)) - SEEN).max() > 10


@pytest.mark.parametrize(
    ("space", "index", "adobe"),
    [
        (0xFFFF, "R03", True),
        (2, None, True),
        (1, "R98", False),
        (0xFFFF, None, False),
        (1, "R03", False),
    ],
)
def test_adobe_rgb_is_known_by_exif_too(space, index, adobe):
    """Cameras name it by the index R03, or the colour space 2, and embed no profile."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = space
    if index:
        exif.get_ifd(0x8769)[0xA005] = {1: index}
    data = encode(plain(stored_as("Adobe RGB")), "JPEG", quality=100, subsampling=0, exif=exif)
    expected = SEEN if adobe else stored_as("Adobe RGB")
    assert np.abs(decode(data).reshape(-1, 3).mean(0) - expected).max() < 3


def test_srgb_with_its_profile_is_bit_identical_to_srgb_without():
    """Nothing is computed where the profile says what is so anyway."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    without = decode(encode(Image.fromarray(noise), "JPEG"))
    np.testing.assert_array_equal(
        decode(encode(Image.fromarray(noise), "JPEG", icc_profile=profile)), without
    )


@pytest.mark.parametrize(
    ("profile", "mode", "said"),
    [
        (b"no profile at all", "RGB", "cannot be used"),
        (matrix_profile("P3", *SPACES["Display P3"])[:200], "RGB", "cannot be used"),
        (grey_profile(1.0), "RGB", "is for pictures of mode L"),
        (matrix_profile("P3", *SPACES["Display P3"]), "CMYK", "is for pictures of mode RGB"),
    ],
    ids=["nonsense", "cut off", "grey on colours", "RGB on CMYK"],
)
def test_a_profile_that_cannot_be_used_is_told(profile, mode, said):
    """The picture counts as sRGB, as without the profile."""
    image = plain((200, 90, 60)).convert(mode)
    pixels, told = decoded(encode(image, "JPEG", icc_profile=profile))
    assert len(told) == 1
    assert said in told[0]
    np.testing.assert_array_equal(pixels, decode(encode(image, "JPEG")))


def test_grey_pictures_are_converted_by_grey_and_by_rgb_profiles():
    """A linear grey of 55 is a middle grey, whichever profile says so."""
    for profile in (grey_profile(1.0), matrix_profile("linear", SRGB, 1.0)):
        pixels, told = decoded(encode(plain(55, "L"), "PNG", icc_profile=profile))
        assert told == []
        assert np.abs(pixels.astype(int) - 128).max() <= 2


def test_cmyk_is_converted_by_its_profile():
    """Full cyan is what the profile says it is: a red."""
    image = plain((255, 0, 0, 0), "CMYK")
    red, green, blue = decode(encode(image, "TIFF", icc_profile=cmyk_profile()))[0, 0]
    assert red > 150 > 80 > max(green, blue)
    assert decode(encode(image, "TIFF"))[0, 0, 0] < 20


def test_transparency_keeps_its_profile():
    """Colours are converted before they lie over white."""
    profile = matrix_profile("P3", *SPACES["Display P3"])
    image = plain((*stored_as("Display P3"), 255), "RGBA")
    image.putpixel((0, 0), (0, 0, 0, 0))
    pixels = decode(encode(image, "PNG", icc_profile=profile))
    assert np.abs(pixels[8, 8].astype(int) - SEEN).max() < 3
    np.testing.assert_array_equal(pixels[0, 0], 255)


@pytest.mark.parametrize("mode", ["LAB", "YCbCr"])
def test_tiffs_of_other_colour_spaces_keep_their_colours(mode):
    """CIE Lab and YCbCr come out as the colour that they were made from."""
    image = plain(SEEN)
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = there(ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB"))
    else:
        image = image.convert(mode)
    pixels = decode(encode(image, "TIFF"))
    assert np.abs(pixels.reshape(-1, 3).mean(0) - SEEN).max() < 6


def shorts(*values: int) -> bytes:
    """Numbers of 16 bits."""
    return np.array(values, "<u2").tobytes()


def twelve(*values: int) -> bytes:
    """An even number of values of 12 bits, packed."""
    pairs = zip(values[::2], values[1::2], strict=True)
    return b"".join(((a << 12) | b).to_bytes(3, "big") for a, b in pairs)


def png(values: tuple[int, ...], significant: int | None) -> bytes:
    """Make a 16-bit grey PNG of one row, with the chunk sBIT."""
    data = encode(Image.fromarray(np.array([values], np.uint16)), "PNG")
    if significant is None:
        return data
    chunk = b"sBIT" + bytes([significant])
    whole = struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data[:33] + whole + data[33:]


def floats(*values: float) -> bytes:
    """Numbers of 32 bits."""
    return np.array(values, "<f4").tobytes()


DEEP = (
    "12-bit TIFF, 12 in 16, 14 in 16, a statistic, 16-bit TIFF, white is 0, 12 in 16 and white is "
    "0, 8-bit and white is 0, float, float and white is 0, 16-bit PNG, PNG of 12 bits scaled up, "
    "PNG of 12 bits as they are, dark PNG of 12 bits scaled up"
)
RANGE = ((340, 11, (0.0,)), (341, 11, (2.0,)))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (tiff(4, 1, twelve(0, 1000, 2048, 4095), bits=(12,)), (0, 62, 128, 255)),
        (tiff(4, 1, shorts(0, 1000, 2048, 4095), more=((281, 3, (4095,)),)), (0, 62, 128, 255)),
        (tiff(3, 1, shorts(0, 8192, 16383), more=((281, 3, (16383,)),)), (0, 128, 255)),
        (tiff(3, 1, shorts(0, 0x8080, 60000), more=((281, 3, (60000,)),)), (0, 128, 233)),
        (tiff(3, 1, shorts(0, 0x8080, 0xFFFF)), (0, 128, 255)),
        (tiff(3, 1, shorts(0, 0x8080, 0xFFFF), photometric=0), (255, 127, 0)),
        (tiff(2, 1, shorts(0, 4095), photometric=0, more=((281, 3, (4095,)),)), (255, 0)),
        (tiff(2, 1, bytes((0, 200)), bits=(8,), photometric=0), (255, 55)),
        (tiff(3, 1, floats(0, 1, 2), bits=(32,), sample_format=3, more=RANGE), (0, 128, 255)),
        (
            tiff(2, 1, floats(0, 2), bits=(32,), sample_format=3, photometric=0, more=RANGE),
            (255, 0),
        ),
        (png((0, 0x8080, 0xFFFF), None), (0, 128, 255)),
        (png((0, 0x8008, 0xFFFF), 12), (0, 128, 255)),
        (png((0, 1001, 2049, 4095), 12), (0, 62, 128, 255)),
        (png((0, 0x0800, 0x0FF0), 12), (0, 8, 16)),
    ],
    ids=DEEP.split(", "),
)
def test_deep_grey_is_scaled_by_the_range_that_its_file_defines(data, expected):
    """From black to white, whatever number stands for white."""
    np.testing.assert_allclose(decode(data)[0, :, 0], expected, atol=1)


def test_more_than_the_declared_range_is_told():
    """A file that contradicts itself is scaled by all 16 bits, and that is said."""
    pixels, told = decoded(tiff(2, 1, shorts(0, 40000), more=((281, 3, (4095,)),)))
    assert pixels[0, :, 0].tolist() == [0, 156]
    assert told == ["it says that 4095 is its largest value, but holds 40000; scaled by 0..65535"]


def test_an_almost_black_deep_picture_is_told():
    """Twelve bits in sixteen without a word of it cannot be known, and look black."""
    _, told = decoded(png((0, 1001, 4095), None))
    assert told == [
        "its brightest value is 4095 of 65535, almost black; if its camera has fewer bits, save "
        "it scaled up"
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (tiff(1, 1, floats(1), bits=(32,), sample_format=3), "without a defined range"),
        (tiff(1, 1, floats(np.nan), bits=(32,), sample_format=3, more=RANGE), "not numbers"),
        (
            tiff(
                1, 1, shorts(1, 2, 3), bits=(16,) * 3, photometric=2, more=((281, 3, (4095,) * 3),)
            ),
            r"only 0\.\.4095 are used; save it with 8 bits",
        ),
        (tiff(1, 1, b"abc", bits=(8,) * 3, photometric=2, more=((50706, 1, (1, 4, 0, 0)),)), "raw"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "format HEIC, which cannot be read here; save it as"),
        (b"\xff\x0a" + bytes(100), "format JPEG XL, which cannot be read here"),
    ],
)
def test_what_cannot_be_shown_rightly_is_refused_with_the_cure(data, message):
    """No guess is made; the message says what to do."""
    with pytest.raises(ImageError, match=message):
        decode(data)


def test_what_is_odd_is_logged_where_nobody_listens(tmp_path, caplog):
    """Naming the file."""
    file = tmp_path / "odd.jpg"
    file.write_bytes(encode(plain(SEEN), "JPEG", icc_profile=b"nonsense"))
    decode(file)
    assert "odd.jpg: its colour profile cannot be used" in caplog.text


PLAIN, OTHER = Image.new("RGB", (8, 8), SEEN), Image.new("RGB", (8, 8), (9, 9, 9))
SEVERAL = "its file holds several pictures, of which the first is used; save each as its own file"


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_further_pictures_in_a_file_are_told(form):
    """Animations and pages: one label for all of them is not what was looked at."""
    pixels, told = decoded(encode(PLAIN, form, save_all=True, append_images=[OTHER.copy()]))
    assert np.abs(pixels.astype(int) - SEEN).max() <= 3
    assert told == [SEVERAL]
    assert decoded(encode(PLAIN, form))[1] == []


def test_views_and_depth_beside_a_photo_are_no_further_pictures():
    """Phones and 3D cameras store them in an MPO, whose first picture is the photo."""
    assert decoded(encode(PLAIN, "MPO", save_all=True, append_images=[OTHER.copy()]))[1] == []


def with_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with further chunks before its pixels."""
    data = encode(PLAIN, "PNG")
    extra = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    return data[:33] + extra + data[33:]


def test_a_gamma_that_is_not_that_of_srgb_is_told():
    """Unless the file says that it is sRGB all the same."""
    linear, usual = (b"gAMA", struct.pack(">I", 100_000)), (b"gAMA", struct.pack(">I", 45_455))
    (told,) = decoded(with_chunks(linear))[1]
    assert (
        told == "it says that its levels have a gamma of 1 (sRGB: 0.45455); they are taken as sRGB"
    )
    assert decoded(with_chunks(usual))[1] == []
    assert decoded(with_chunks(linear, (b"sRGB", b"\0")))[1] == []
