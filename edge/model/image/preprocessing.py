"""From picture bytes to the model's input tensor: decode, fit, quantise. Pure; used on both sides.

Training caches, desktop evaluation, calibration, golden images and the device all come through
here, so what the model was judged on is what it sees in the field.

JPEGs are decoded at 1/2, 1/4 or 1/8 scale where that still holds enough pixels (libjpeg's scaled
inverse DCT, Pillow's *draft mode*), then resized once, antialiased.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from functools import lru_cache
from math import ceil, isfinite
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import msgspec
import numpy as np
from PIL import Image, UnidentifiedImageError

from edge.errors import ImageError
from edge.model.image.bit_depth import Told, note_depth
from edge.model.image.colour import to_srgb
from edge.model.image.orientation import is_sideways, turn_of, upright_size
from edge.model.image.unreadable_formats import note_several, refuse_raw, unknown_format

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Source = str | PathLike[str] | bytes | BinaryIO

#: Pictures with more pixels than this are refused before any is decoded (Pillow's own limit).
MAX_PIXELS = 89_478_485
#: What surrounds the picture under ``crop="pad"``: mid-grey, close to zero for most models.
PAD_COLOUR = (127, 127, 127)

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_INTEGER_RANGES = {"uint8": (0, 255), "int8": (-128, 127)}
#: A value this close below the middle between two levels counts as the middle, so that a scale
#: stored as float32 (2/255 becomes 0.0078431371...) still maps 256 pixels to 256 levels.
_TIE = 1e-3


class InputSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a picture becomes the model's input tensor, shape (1, height, width, channels).

    ``real = (pixel - mean) / std``; float32 models take ``real``; integer models take
    ``round(real / scale) + zero_point``, halves up, clipped to the type's range.
    """

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    colour: Literal["rgb", "grey"] = "rgb"
    """``grey`` is ITU-R 601 luma, one channel."""
    crop: Literal["stretch", "centre", "pad"] = "stretch"
    """``stretch`` ignores the aspect ratio, ``centre`` cuts the edges off, ``pad`` adds grey."""
    resize: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = "bilinear"
    """Antialiasing filter."""
    dtype: Literal["uint8", "int8", "float32"] = "uint8"
    mean: tuple[float, ...] = (127.5,)
    """In pixel levels; one value, or one per channel."""
    std: tuple[float, ...] = (127.5,)
    """In pixel levels; one value, or one per channel."""
    scale: float = 1.0
    """Real units per level (integer dtypes only)."""
    zero_point: int = 0
    """The level that stands for real 0 (integer dtypes only)."""

    def __post_init__(self) -> None:
        """Refuse values that no model can mean; ValueError, so msgspec names the path."""
        for name, value in (("width", self.width), ("height", self.height)):
            if not 1 <= value <= 4096:
                raise ValueError(f"{name} must be 1..4096 pixels, not {value}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise ValueError(f"{name} needs 1 or {self.channels} values, not {len(values)}")
        if not all(map(isfinite, (*self.mean, *self.std, self.scale))):
            raise ValueError("mean, std and scale must be finite numbers")
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std must be above 0, not {self.std}")
        if not self.scale > 0:
            raise ValueError(f"scale must be above 0, not {self.scale}")
        low, high = _INTEGER_RANGES.get(self.dtype, (0, 0))
        if not low <= self.zero_point <= high:
            raise ValueError(f"zero_point must be {low}..{high} for {self.dtype}")

    @property
    def channels(self) -> int:
        """3 for rgb, 1 for grey."""
        return 3 if self.colour == "rgb" else 1


def decode(
    source: Source,
    at_least: tuple[int, int] | Callable[[tuple[int, int]], tuple[int, int]] | None = None,
    told: Told | None = None,
) -> Pixels:
    """Decode a picture to upright sRGB, uint8 (height, width, 3); the array is read-only.

    ``at_least`` (width, height in pixels, of the upright picture) allows decoding a JPEG at
    reduced scale as long as neither side falls below it; a smaller picture stays as it is. A
    function is given the picture's size and gives this. ``told`` is called with what is odd about
    a picture that can be used all the same; without it, that is logged.

    Raises:
        ImageError: not a picture, damaged, truncated, too large, or in a form without a
            defined brightness range.
    """
    if isinstance(at_least, tuple):
        return _pixels(_decode(source, lambda _: at_least, told))
    return _pixels(_decode(source, at_least, told))


def fit(pixels: Pixels, spec: InputSpec) -> Pixels:
    """Crop and resize RGB uint8 (H, W, 3) to uint8 (height, width, channels), antialiased.

    Returns ``pixels`` itself where nothing is to be done.

    Raises:
        ImageError: ``pixels`` has another shape or dtype.
    """
    fitted = pixels.shape == (spec.height, spec.width, spec.channels)
    if fitted and pixels.dtype == np.uint8:
        return pixels
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise ImageError(f"expected uint8 (H, W, 3) pixels, not {pixels.dtype} {pixels.shape}")
    return _pixels(_fit(Image.fromarray(pixels), spec))


def load(source: Source, spec: InputSpec, told: Told | None = None) -> Pixels:
    """Decode and fit: the picture as the model sees it, uint8 (height, width, channels).

    ``told`` is as for :func:`decode`.

    Raises:
        ImageError: as for :func:`decode`.
    """
    return _pixels(_fit(_decode(source, lambda size: fewest_pixels(size, spec), told), spec))


def quantise(pixels: Pixels, spec: InputSpec, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Turn fitted pixels, uint8 (height, width, channels), into the tensor (1, h, w, c).

    ``out`` is an array of that shape and of the spec's dtype to write into. Without it, where the
    model takes pixel levels as they are, the result is a view of ``pixels``.

    Raises:
        ImageError: ``pixels`` has another shape.
    """
    if pixels.shape != (spec.height, spec.width, spec.channels):
        raise ImageError(f"expected {(spec.height, spec.width, spec.channels)}, not {pixels.shape}")
    flip, table = _table(spec)
    if out is None:
        if takes_levels(spec):
            return pixels[np.newaxis]
        out = np.empty((1, *pixels.shape), spec.dtype)
    if flip is not None:
        np.bitwise_xor(pixels, flip, out=out[0].view(np.uint8))
    elif table.ndim == 1:
        np.take(table, pixels, out=out[0], mode="clip")
    else:
        for channel in range(spec.channels):
            out[0, :, :, channel] = table[:, channel][pixels[:, :, channel]]
    return out


def takes_levels(spec: InputSpec) -> bool:
    """Whether the tensor holds the pixel levels as they are."""
    return spec.dtype == "uint8" and _table(spec)[0] == 0


def normalise_table(spec: InputSpec) -> NDArray[Any]:
    """The tensor value of each pixel level: (256,) or (256, channels), of spec.dtype."""
    levels = np.arange(256, dtype=np.float64)[:, None]
    real = (levels - np.array(spec.mean)) / np.array(spec.std)
    table: NDArray[Any]
    if spec.dtype == "float32":
        table = real.astype(np.float32)
    else:
        low, high = _INTEGER_RANGES[spec.dtype]
        level = np.floor(real / spec.scale + 0.5 + _TIE) + spec.zero_point
        table = np.clip(level, low, high).astype(spec.dtype)
    only = table.shape[1] == 1
    return table.reshape(-1) if only else table


@lru_cache(maxsize=16)
def _table(spec: InputSpec) -> tuple[np.uint8 | None, NDArray[Any]]:
    """The lookup table, and the bit pattern that does the same in one pass, if there is one."""
    table = normalise_table(spec)
    if table.dtype != np.float32 and table.ndim == 1:
        for flip in (np.uint8(0), np.uint8(0x80)):
            if np.array_equal(table.view(np.uint8), np.arange(256, dtype=np.uint8) ^ flip):
                return flip, table
    return None, table


def _pixels(image: Image.Image) -> Pixels:
    array: Pixels = np.asarray(image)
    return array if array.ndim == 3 else array[:, :, None]


def fewest_pixels(size: tuple[int, int], spec: InputSpec) -> tuple[int, int]:
    """The fewest pixels (width, height) that a picture of ``size`` must keep for ``spec``."""
    if spec.crop == "pad":
        return _inside(size, spec)
    return spec.width, spec.height


def _inside(size: tuple[int, int], spec: InputSpec) -> tuple[int, int]:
    """The largest (width, height) of the same aspect ratio inside the model's input."""
    factor = min(spec.width / size[0], spec.height / size[1])
    return (
        min(spec.width, max(1, ceil(size[0] * factor - 0.5))),
        min(spec.height, max(1, ceil(size[1] * factor - 0.5))),
    )


def _fit(image: Image.Image, spec: InputSpec) -> Image.Image:
    """Crop, resize and colour-convert an RGB picture in one resampling pass."""
    if spec.colour == "grey":
        image = image.convert("L")
    width, height = image.size
    if (width, height) == (spec.width, spec.height):
        return image
    how = _FILTERS[spec.resize]
    if spec.crop == "pad":
        inner = image.resize(_inside(image.size, spec), how, reducing_gap=3.0)
        colour = PAD_COLOUR if spec.colour == "rgb" else PAD_COLOUR[0]
        canvas = Image.new(image.mode, (spec.width, spec.height), colour)
        canvas.paste(inner, ((spec.width - inner.width) // 2, (spec.height - inner.height) // 2))
        return canvas
    box: tuple[float, float, float, float] = (0.0, 0.0, width, height)
    if spec.crop == "centre":
        factor = min(width / spec.width, height / spec.height)
        left = (width - spec.width * factor) / 2
        top = (height - spec.height * factor) / 2
        box = (max(0.0, left), max(0.0, top), min(width, width - left), min(height, height - top))
    return image.resize((spec.width, spec.height), how, box=box, reducing_gap=3.0)


def _decode(
    source: Source,
    needed: Callable[[tuple[int, int]], tuple[int, int]] | None,
    told: Told | None,
) -> Image.Image:
    """Open, decode (at reduced scale where ``needed(upright size)`` allows) and turn upright."""
    tell = told or (lambda text: _say(f"{_name(source)}: {text}"))
    try:
        with _open(source) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(
                    f"{image.width} x {image.height} pixels exceed the limit of {MAX_PIXELS}; "
                    "scale the picture down first"
                )
            refuse_raw(image)
            note_depth(image)
            note_several(image, tell)
            if needed is not None:
                sideways = is_sideways(image)
                minimum = needed(upright_size(image))
                image.draft("RGB", minimum[::-1] if sideways else minimum)
            image.load()
            turn = turn_of(image)
            upright = to_srgb(image, tell)
    except UnidentifiedImageError as error:
        raise ImageError(f"{_name(source)}: {unknown_format(source)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{_name(source)}: {error}") from error
    except ImageError as error:
        raise ImageError(f"{_name(source)}: {error}") from error
    except FileNotFoundError as error:
        raise ImageError(f"{_name(source)}: no such file") from error
    except Exception as error:
        # Pillow promises OSError; on damaged files its decoders raise whatever they stumble over
        # (seen: SyntaxError, ValueError, RuntimeError, struct.error, warnings made errors).
        raise ImageError(f"{_name(source)}: damaged or truncated picture ({error})") from error
    return upright if turn is None else upright.transpose(turn)


def _open(source: Source) -> Image.Image:
    """Open a picture. PNG bytes, as golden pictures are, without loading the other formats."""
    if not isinstance(source, bytes):
        if isinstance(source, (str, PathLike)) and _waits(source):
            raise ImageError("a pipe or a device, not a file; save the picture first")
        return Image.open(source)
    if source.startswith(b"\x89PNG\r\n\x1a\n"):
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(io.BytesIO(source))
    return Image.open(io.BytesIO(source))


def _waits(path: str | PathLike[str]) -> bool:
    """Whether reading the file may block forever, or never end."""
    mode = os.stat(path).st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _name(source: Source) -> str:
    return str(source) if isinstance(source, (str, PathLike)) else "picture"


def _say(text: str) -> None:
    import logging  # not at the top: the first result of a command would wait for it

    logging.getLogger(__name__).warning(text)
