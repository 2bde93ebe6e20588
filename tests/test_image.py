"""Decoding, fitting and quantising pictures."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from edge.errors import ImageError
from edge.model.image.preprocessing import InputSpec, decode, fit, load, quantise


def encode(image: Image.Image, form: str = "PNG", **options) -> bytes:
    """A picture file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def scene(width: int, height: int) -> Image.Image:
    """A smooth picture without symmetry, so that every turn shows."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = 255 * x / width, 255 * y / height
    return Image.fromarray(np.stack([red, green, (red + green) / 4], -1).astype(np.uint8))


def spec(**changes) -> InputSpec:
    """An input of 32 x 24 uint8."""
    return InputSpec(**{"width": 32, "height": 24, **changes})


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation):
    """A picture comes out upright, whatever its EXIF block says of how it was stored."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(scene(64, 40), "JPEG", quality=95, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(decode(data), expected)


def test_stored_sideways_comes_out_tall():
    """Orientation 6 (turn a quarter clockwise) moves the left column to the top row."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decode(encode(scene(64, 40), "JPEG", quality=95, exif=exif))
    assert pixels.shape == (64, 40, 3)
    assert pixels[0, :, 0].mean() < 10 < 240 < pixels[-1, :, 0].mean()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (4, 3), 77), (77, 77, 77)),
        (Image.new("1", (4, 3), 1), (255, 255, 255)),
        (Image.new("LA", (4, 3), (0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (4, 3), (0, 100, 200, 51)), (204, 224, 244)),
        (Image.new("RGBA", (4, 3), (10, 20, 30, 255)), (10, 20, 30)),
        (Image.fromarray(np.full((3, 4), 0, np.uint16)), (0, 0, 0)),
        (Image.fromarray(np.full((3, 4), 0x8080, np.uint16)), (128, 128, 128)),
        (Image.fromarray(np.full((3, 4), 0xFFFF, np.uint16)), (255, 255, 255)),
        (Image.new("RGB", (4, 3), (1, 2, 3)).quantize(2), (1, 2, 3)),
    ],
    ids=["L", "1", "LA", "RGBA-half", "RGBA", "16-bit-0", "16-bit-mid", "16-bit-max", "P"],
)
def test_every_mode_becomes_rgb(image, expected):
    """Grey, bilevel, transparent, palette and 16-bit pictures give the RGB that one sees."""
    pixels = decode(encode(image))
    assert pixels.shape == (3, 4, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels.reshape(-1, 3), [expected] * 12)


def test_transparent_colour_of_a_palette_turns_white():
    """A GIF-style transparent palette entry is shown over white."""
    image = Image.new("P", (4, 3), 1)
    image.putpalette([0, 0, 0, 200, 10, 10])
    np.testing.assert_array_equal(decode(encode(image, transparency=1)), 255)


def test_cmyk_jpeg_keeps_its_colours():
    """A CMYK JPEG (as print houses deliver) decodes to about the RGB it was made from."""
    pixels = decode(encode(Image.new("RGB", (16, 16), (200, 60, 20)).convert("CMYK"), "JPEG"))
    assert np.abs(pixels.reshape(-1, 3).mean(0) - (200, 60, 20)).max() < 6


def test_sixteen_bit_grey_is_scaled_not_clipped():
    """A 16-bit ramp comes out as an 8-bit ramp over the whole range."""
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(2, 0)
    np.testing.assert_allclose(decode(encode(Image.fromarray(ramp)))[0, :, 0], range(256), atol=1)


def test_float_pixels_are_refused():
    """A floating-point TIFF has no defined brightness range."""
    data = encode(Image.fromarray(np.ones((3, 4), np.float32)), "TIFF")
    with pytest.raises(ImageError, match="floating-point"):
        decode(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP"])
def test_truncated_picture_is_refused(form):
    """A file that ends too early is an error, not a picture with a grey half."""
    data = encode(scene(200, 100), form)
    with pytest.raises(ImageError, match=r"damaged|not a picture"):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"x" * 50])
def test_other_bytes_are_refused(data):
    """Bytes that are no picture raise ImageError."""
    with pytest.raises(ImageError):
        decode(data)


def test_missing_file_is_named(tmp_path):
    """The message of a missing file holds its path."""
    with pytest.raises(ImageError, match=r"gone\.jpg: no such file"):
        decode(tmp_path / "gone.jpg")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 60_000])
def test_decompression_bomb_is_refused(side):
    """A header that promises too many pixels is refused before any is decoded."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    png += struct.pack(">I", zlib.crc32(chunk))
    png += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    with pytest.raises(ImageError, match="exceed"):
        decode(png)


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1081, 1921), (300, 2000), (100, 50)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_draft_decoding_never_goes_below_the_wanted_size(width, height, orientation):
    """A reduced JPEG keeps both sides at least as wanted, also when it is stored sideways."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = (height, width) if orientation == 6 else (width, height)
    pixels = decode(encode(scene(width, height), "JPEG", exif=exif), at_least=(224, 160))
    got = pixels.shape[1], pixels.shape[0]
    assert got[0] >= min(224, upright[0])
    assert got[1] >= min(160, upright[1])
    assert got[0] < upright[0] or min(upright[0] / 224, upright[1] / 160) < 2


@pytest.mark.parametrize("crop", ["stretch", "centre", "pad"])
def test_load_agrees_with_a_full_decode(crop):
    """Decoding at reduced scale changes levels by no more than a little."""
    data = encode(scene(1280, 720), "JPEG", quality=95)
    wanted = spec(width=96, height=96, crop=crop)
    quick, slow = load(data, wanted), fit(decode(data), wanted)
    assert quick.shape == slow.shape == (96, 96, 3)
    assert np.abs(quick.astype(int) - slow).mean() < 1.5


def test_fit_leaves_a_fitting_picture_alone():
    """Pixels of the right size are handed on, not copied."""
    pixels = np.zeros((24, 32, 3), np.uint8)
    assert fit(pixels, spec()) is pixels


def test_centre_crop_cuts_the_edges_off():
    """Of a wide picture with red ends, ``centre`` sees none and ``stretch`` does."""
    pixels = np.zeros((24, 96, 3), np.uint8)
    pixels[:, :30, 0] = pixels[:, -30:, 0] = 255
    assert fit(pixels, spec(crop="centre"))[:, 1:-1].max() == 0
    assert fit(pixels, spec(crop="stretch")).max() == 255


def test_pad_keeps_the_whole_picture_between_grey_bars():
    """A wide white picture lies in the middle, with grey above and below."""
    fitted = fit(np.full((24, 96, 3), 255, np.uint8), spec(crop="pad"))
    np.testing.assert_array_equal(fitted[:8], 127)
    np.testing.assert_array_equal(fitted[8:16], 255)
    np.testing.assert_array_equal(fitted[16:], 127)


def test_grey_input_has_one_channel_of_luma():
    """Pure green becomes 0.587 of full brightness (ITU-R 601)."""
    green = np.full((48, 64, 3), (0, 255, 0), np.uint8)
    fitted = fit(green, spec(colour="grey"))
    assert fitted.shape == (24, 32, 1)
    np.testing.assert_array_equal(fitted, 150)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_fit_refuses_other_arrays(pixels):
    """Only uint8 (H, W, 3) is a picture."""
    with pytest.raises(ImageError, match="expected uint8"):
        fit(pixels, spec())


LEVELS = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)


def tensor(**changes) -> np.ndarray:
    """Quantise the picture of all levels; give the first channel by level."""
    return quantise(LEVELS, spec(width=16, height=16, **changes)).reshape(256, 3)[:, 0]


@pytest.mark.parametrize(
    ("changes", "offset"),
    [
        # The scale that converters write for -1..1, as the float32 it is stored as.
        ({"dtype": "int8", "scale": 0.007843137718737125, "zero_point": -1}, -128),
        ({"dtype": "uint8", "scale": 0.007843137718737125, "zero_point": 127}, 0),
        (
            {"dtype": "int8", "mean": (0,), "std": (255,), "scale": 1 / 255, "zero_point": -128},
            -128,
        ),
        ({"dtype": "uint8", "mean": (128,), "std": (128,), "scale": 1 / 128, "zero_point": 128}, 0),
    ],
)
def test_usual_quantisations_keep_all_256_levels(changes, offset):
    """Each pixel level has its own tensor level: no two fall together through rounding."""
    np.testing.assert_array_equal(tensor(**changes).astype(int), np.arange(256) + offset)


def test_quantise_clips_to_the_type():
    """Values beyond the type's range stick to its ends instead of wrapping around."""
    levels = tensor(dtype="int8", scale=0.001, zero_point=0).astype(int)
    assert (levels.min(), levels.max()) == (-128, 127)
    assert (np.diff(levels) >= 0).all()


def test_float_input_is_normalised():
    """A float32 model gets (pixel - mean) / std, shape (1, h, w, c)."""
    values = quantise(LEVELS, spec(width=16, height=16, dtype="float32"))
    assert values.shape == (1, 16, 16, 3)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[0], (LEVELS - 127.5) / 127.5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_channels_can_have_their_own_normalisation(dtype):
    """Mean and std per channel are applied to that channel only."""
    wanted = spec(
        width=16, height=16, dtype=dtype, mean=(0, 100, 200), std=(1, 2, 4), scale=1.0, zero_point=0
    )
    values = quantise(LEVELS, wanted)[0]
    expected = (LEVELS.astype(float) - (0, 100, 200)) / (1, 2, 4)
    if dtype == "int8":
        expected = np.clip(np.floor(expected + 0.5), -128, 127)
    np.testing.assert_allclose(values, expected)


def test_quantise_writes_into_a_given_array():
    """``out`` receives the tensor and is returned, so that no frame allocates."""
    out = np.empty((1, 16, 16, 3), np.uint8)
    wanted = spec(width=16, height=16, mean=(0,), std=(1,))
    assert quantise(LEVELS, wanted, out=out) is out
    np.testing.assert_array_equal(out[0], LEVELS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width must be 1..4096"),
        ({"std": (0.0,)}, "std must be above 0"),
        ({"mean": (1.0, 2.0)}, "mean needs 1 or 3 values"),
        ({"dtype": "int8", "zero_point": 128}, "zero_point must be -128..127"),
        ({"scale": 0.0}, "scale must be above 0"),
        ({"scale": float("inf")}, "finite"),
        ({"mean": (float("nan"),)}, "finite"),
        ({"std": (float("inf"),)}, "finite"),
    ],
)
def test_impossible_inputs_are_refused(changes, message):
    """An input description checks itself."""
    with pytest.raises(ValueError, match=message):
        spec(**changes)


def damaged(data: bytes) -> list[bytes]:
    """Versions of a file with bytes changed near its start or anywhere, or cut off."""
    random = np.random.default_rng(0)
    versions = []
    for reach in (40, 300, len(data)):
        for _ in range(12):
            changed = bytearray(data)
            for at in random.integers(0, min(reach, len(data)), 3):
                changed[at] = random.integers(256)
            versions.append(bytes(changed[: random.integers(len(data) // 2, len(data) + 1)]))
    return versions


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "TGA"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_pictures_give_a_picture_or_an_image_error(form):
    """Whatever is wrong with a file, nothing but ImageError comes out."""
    if form == "WEBP" and not features.check("webp"):
        pytest.skip("Pillow without WebP")
    for data in damaged(encode(scene(60, 40), form)):
        try:
            assert load(data, spec()).shape == (24, 32, 3)
        except ImageError as error:
            assert str(error)  # noqa: PT017 - either outcome is right


def test_an_unreadable_exif_block_does_not_cost_the_picture():
    """A picture whose notes are damaged is shown as stored."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(encode(scene(64, 40), "JPEG", exif=exif))
    start = data.index(b"Exif\0\0")
    data[start + 6 : start + 14] = b"\xff" * 8
    assert decode(bytes(data)).shape == (40, 64, 3)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "TIFF", "WebP", "AVIF"])
def test_a_copy_that_was_cut_off_is_called_damaged(form):
    """Wherever it ends: who copied half of a file is not told that its format is unknown."""
    if form in ("WebP", "AVIF") and not features.check(form.lower()):
        pytest.skip(f"this Pillow reads no {form}")
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, form)
    whole = file.getvalue()
    for length in (12, 16, 20, 30, len(whole) // 3, len(whole) // 2):
        with pytest.raises(ImageError, match="damaged or truncated"):
            decode(whole[:length])


def test_a_recording_is_no_damaged_picture():
    """It begins as WebP does."""
    with pytest.raises(ImageError, match="not a picture in a format known here"):
        decode(b"RIFF\x24\x08\0\0WAVEfmt " + bytes(40))
