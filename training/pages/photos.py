"""Photos inside the page: small JPEGs as data addresses."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def data_address(pixels: NDArray[np.uint8], side: int, quality: int = 82) -> str:
    """uint8 (h, w, 3) or (h, w, 1) as a JPEG ``data:`` address with the longer side at `side`."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((side, side))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
