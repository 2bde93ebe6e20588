"""Where regions and tiles lie, and how finely a picture is decoded for them."""

from __future__ import annotations

import devices
import numpy as np
import pytest

from edge.cameras.photo import encode_jpeg
from edge.cameras.picamera2 import lores_size
from edge.config import View
from edge.errors import ImageError
from edge.model.image.preprocessing import InputSpec, fit, load
from edge.model.tiles import around, layout, needed, scaled, see

SPEC = InputSpec(width=32, height=32)


def test_a_grid_covers_the_picture_and_its_tiles_overlap_by_the_share():
    """4 x 3 tiles of one size reach every edge; neighbours share a fifth."""
    boxes = layout(View(tiles=(4, 3)), (1700, 1300))
    assert len(boxes) == 12
    assert around(boxes) == (0, 0, 1700, 1300)
    assert {(r - le, b - t) for le, t, r, b in boxes} == {(500, 500)}
    assert boxes[1][0] == 400
    assert boxes[4][1] == 400


def test_tiles_of_a_side_in_pixels_end_with_the_picture():
    """The last tile is moved in, not cut off; a picture smaller than a tile is one tile."""
    boxes = layout(View(tiles=300, overlap=0.0), (1000, 300))
    assert boxes == ((0, 0, 300, 300), (300, 0, 600, 300), (600, 0, 900, 300), (700, 0, 1000, 300))
    assert layout(View(tiles=300), (200, 100)) == ((0, 0, 200, 100),)


def test_regions_are_shares_and_each_is_cut():
    """Without tiles each region is one part; with tiles each has its own."""
    view = View(regions=((0.0, 0.5, 0.5, 1.0), (0.75, 0.0, 1.0, 0.5)))
    assert layout(view, (800, 400)) == ((0, 200, 400, 400), (600, 0, 800, 200))
    halves = View(regions=view.regions, tiles=(2, 1), overlap=0.0)
    assert layout(halves, (800, 400))[2:] == ((600, 0, 700, 200), (700, 0, 800, 200))


def test_too_many_tiles_are_refused_with_the_cure():
    """Sixteen pixels a side in a large picture is a mistake."""
    with pytest.raises(ImageError, match="more than 1024 tiles; make them larger"):
        layout(View(tiles=16), (4000, 3000))


@pytest.mark.parametrize("crop", ["stretch", "centre", "pad"])
@pytest.mark.parametrize("tiles", [(4, 3), (1, 5), 300, 900])
def test_a_picture_is_decoded_with_pixels_enough_for_every_tile(crop, tiles):
    """JPEG draft mode reduces, but never below the model's input per tile; else not at all."""
    spec = InputSpec(width=96, height=64, crop=crop)
    size, view = (2048, 1536), View(tiles=tiles)
    data = devices.photo("aphid", size)
    pixels = see(data, spec, view)
    height, width = pixels.shape[:2]
    least = needed(view, spec, size)
    assert width >= least[0]
    assert height >= least[1]
    for box in layout(view, size):
        left, top, right, bottom = scaled(box, size, (width, height))
        wide, tall = right - left, bottom - top
        enough = wide >= 96 or tall >= 64 if crop == "pad" else wide >= 96 and tall >= 64
        assert enough or (width, height) == size
    if tiles == 900:
        assert width == size[0] // 8


@pytest.mark.parametrize("crop", ["stretch", "centre", "pad"])
@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_a_whole_picture_is_decoded_as_before(colour, crop):
    """Without a view the pixels are those that training and evaluation see."""
    spec = InputSpec(width=96, height=64, colour=colour, crop=crop)
    noise = np.random.default_rng(0).integers(0, 256, (200, 1200, 3), np.uint8)
    for data in (devices.photo("aphid", (2048, 1536)), encode_jpeg(noise)):
        for view in (None, View()):
            assert np.array_equal(fit(see(data, spec, view), spec), load(data, spec))


def test_the_small_stream_of_a_pi_camera_holds_the_tiles():
    """For 4 x 3 tiles of a 2304 x 1296 picture and a model of 224, 'lores' is half as large."""
    spec = InputSpec(width=224, height=224)
    least = needed(View(tiles=(4, 3), overlap=0.0), spec, (2304, 1296))
    width, height = lores_size((2304, 1296), least)
    assert (width, height) == (1196, 674)
    assert width / 4 >= 224
    assert height / 3 >= 224


def test_a_tile_of_twice_the_models_side_is_not_resized():
    """The JPEG is decoded at half scale; each tile of 64 is then the 32 that the model takes."""
    view, size = View(tiles=64), (640, 480)
    pixels = see(devices.photo("aphid", size), SPEC, view)
    assert pixels.shape == (240, 320, 3)
    for box in layout(view, size):
        left, top, right, bottom = scaled(box, size, (320, 240))
        assert (right - left, bottom - top) == (32, 32)
