"""Grey pictures of more than 8 bits, scaled by the range that their file defines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from edge.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Told = Callable[[str], None]
"""Called with what is odd about a picture that can be used all the same."""

# TIFF 6.0, section 8: BitsPerSample, PhotometricInterpretation, MaxSampleValue, and of section 19
# SMinSampleValue and SMaxSampleValue.
_BITS, _PHOTOMETRIC, _MAX, _SMIN, _SMAX = 258, 262, 281, 340, 341
_WHITE_IS_ZERO = 0
_SENSORS = tuple(2**bits - 1 for bits in range(9, 16))
"""Largest values of sensors with 9 to 15 bits. Any other MaxSampleValue is a statistic."""
_SBIT = "significant_bits"


def note_depth(image: Image.Image) -> None:
    """Before a picture is loaded, note what its file says of its depth and Pillow does not keep.

    Raises:
        ImageError: colours of 16 bits that use fewer, of which Pillow would keep the upper 8.
    """
    tags: Any = getattr(image, "tag_v2", None)
    if tags is not None:
        high = _one(tags.get(_MAX))
        if len(tags.get(_BITS, ())) >= 3 and tags[_BITS][0] == 16 and high in _SENSORS:
            raise ImageError(
                f"colours of 16 bits of which only 0..{high:.0f} are used; save it with 8 bits, or "
                "scaled to 0..65535"
            )
    elif image.format == "PNG" and image.mode.startswith("I"):
        image.info[_SBIT] = _significant_bits(image)


def to_eight_bits(image: Image.Image, told: Told) -> Image.Image:
    """Scale a loaded grey picture of 16 or 32 bits (Pillow's modes I;16*, I and F) to mode L.

    Raises:
        ImageError: floating-point or 32-bit numbers without a defined range.
    """
    tags: Any = getattr(image, "tag_v2", None) or {}
    values: NDArray[Any] = np.asarray(image)
    if image.mode.startswith("F"):
        low, high = _float_range(tags, values)
        scaled = np.floor((values.astype(np.float64) - low) * (255 / (high - low)) + 0.5)
    else:
        values = values.astype(np.int64)
        full = _integer_range(image, tags, values, told)
        scaled = (values * 255 + full // 2) // full
    levels = np.clip(scaled, 0, 255).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow turns those of 8 bits and fewer
        levels = 255 - levels
    return Image.fromarray(levels)


def _integer_range(image: Image.Image, tags: Any, values: NDArray[Any], told: Told) -> int:  # noqa: ANN401
    """The value that stands for white."""
    top, bottom = (int(values.max()), int(values.min())) if values.size else (0, 0)
    if not 0 <= bottom <= top <= 0xFFFF:
        raise ImageError("32-bit pixels beyond the 16-bit range have no defined brightness")
    bits = tags.get(_BITS, (16,))[0] if tags else image.info.get(_SBIT, 16)
    full = 2**bits - 1 if 8 < bits < 16 else 0xFFFF
    declared = _one(tags.get(_MAX))
    if full == 0xFFFF and declared in _SENSORS:
        full = int(declared or 0)
    if image.format == "PNG" and full < 0xFFFF:
        # By the PNG specification values of fewer significant bits are scaled up, the spare bits
        # are copies or 0. Some cameras write them as they are.
        spare = 16 - bits
        unscaled = top <= full and bool((values & ((1 << spare) - 1)).any())
        full = full if unscaled else 0xFFFF
    if top > full:
        told(f"it says that {full} is its largest value, but holds {top}; scaled by 0..65535")
        full = 0xFFFF
    if full == 0xFFFF and 0 < top < 0x1000:
        told(
            f"its brightest value is {top} of 65535, almost black; if its camera has fewer bits, "
            "save it scaled up"
        )
    return full


def _float_range(tags: Any, values: NDArray[Any]) -> tuple[float, float]:  # noqa: ANN401
    low, high = _one(tags.get(_SMIN)), _one(tags.get(_SMAX))
    if low is None or high is None or not low < high:
        raise ImageError(
            "pixels are floating-point numbers without a defined range (SMinSampleValue and "
            "SMaxSampleValue); save it with 8 bits"
        )
    if not np.isfinite(values).all():
        raise ImageError("some of its floating-point pixels are not numbers")
    return low, high


def _one(value: Any) -> float | None:  # noqa: ANN401 - whatever a TIFF tag holds
    """The first of a tag's values, or None."""
    if isinstance(value, tuple):
        value = value[0] if value else None
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _significant_bits(image: Image.Image) -> int:
    """The number of bits in the chunk sBIT of a grey PNG; it comes before the pixels."""
    file: Any = image.fp  # type: ignore[attr-defined]
    here = file.tell()
    file.seek(0)
    head = file.read(here)
    file.seek(here)
    at = head.find(b"sBIT")
    bits = head[at + 4] if 0 <= at < len(head) - 4 else 16
    return bits if 1 <= bits <= 16 else 16
