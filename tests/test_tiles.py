"""Parts of a picture: regions, tiles, masks, and how what they show joins again."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from datetime import UTC, datetime

import devices
import numpy as np
import pytest
from brokers import Mosquitto, Subscriber
from PIL import Image, ImageDraw
from test_config import refusal

from edge.cameras import Frame, see
from edge.cameras.picamera2 import lores_size
from edge.classifier import Classification, Classifier, Tile, Timings
from edge.cli import main
from edge.config import Decision, View
from edge.decision import Decider
from edge.drawing import colour_of
from edge.errors import ConfigError, ImageError
from edge.findings import findings
from edge.image import PAD_COLOUR, InputSpec, fit, load
from edge.scores import Score
from edge.tiles import around, join, layout, needed, scaled, touch
from edge.viewer import Viewer, together

TAKEN = datetime(2026, 6, 21, tzinfo=UTC)
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


def test_a_whole_picture_is_decoded_as_before():
    """Without a view the pixels are those that training and evaluation see."""
    data = devices.photo("aphid", (2048, 1536))
    assert np.array_equal(see(data, SPEC, View()), load(data, SPEC))


def test_the_small_stream_of_a_pi_camera_holds_the_tiles():
    """For 4 x 3 tiles of a 2304 x 1296 picture and a model of 224, 'lores' is half as large."""
    spec = InputSpec(width=224, height=224)
    least = needed(View(tiles=(4, 3), overlap=0.0), spec, (2304, 1296))
    width, height = lores_size((2304, 1296), least)
    assert (width, height) == (1196, 674)
    assert width / 4 >= 224
    assert height / 3 >= 224


def frame(pixels: np.ndarray, size: tuple[int, int] | None = None) -> Frame:
    """Give a frame with these pixels, of a picture that had `size`."""
    width, height = size or (pixels.shape[1], pixels.shape[0])
    return Frame(pixels, TAKEN, "x.jpg", width, height, lambda: b"")


def scene(spots: dict[tuple[int, int, int, int], str], size=(640, 480), ground="leaf"):
    """Paint rectangles in the classes' colours on a ground."""
    picture = Image.new("RGB", size, devices.COLOURS[ground])
    pen = ImageDraw.Draw(picture)
    for box, label in spots.items():
        pen.rectangle(box, fill=devices.COLOURS[label])
    return np.asarray(picture)


@pytest.fixture
def classifier(tmp_path):
    """A model that tells colours apart."""
    with Classifier.from_bundle(devices.bundle(tmp_path / "m.wtr"), "fake") as opened:
        yield opened


def test_every_tile_takes_the_models_own_path(classifier):
    """A tile's result is that of the same crop classified alone, to the bit."""
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    found = Viewer(classifier, View(tiles=(2, 2), overlap=0.0)).see(frame(pixels))
    assert len(found.tiles) == 4
    for tile in found.tiles:
        left, top, right, bottom = tile.box
        alone = classifier.classify(fit(pixels[top:bottom, left:right], classifier.input))
        assert np.array_equal(tile.found.probabilities, alone.probabilities)
    assert found.confidence == max(tile.found.confidence for tile in found.tiles)


def test_boxes_are_pixels_of_the_picture_as_taken(classifier):
    """A frame decoded at a quarter finds the same places."""
    pixels = scene({(320, 240, 640, 480): "beetle"})
    viewer = Viewer(classifier, View(tiles=(2, 2), overlap=0.0))
    found = viewer.look(pixels[::4, ::4], (640, 480))
    (beetle,) = findings(found, {}, frozenset({"leaf"}))
    assert beetle.regions[0].box == (320, 240, 640, 480)


def test_what_is_masked_is_painted_over_and_mostly_masked_tiles_are_left_out(classifier, tmp_path):
    """A polygon and a drawn mask hide; a tile masked by half stays, with grey in place."""
    pixels = scene({(0, 0, 320, 240): "beetle"})
    quarter = ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.5))
    view = View(tiles=(2, 2), overlap=0.0, mask_polygons=(quarter,))
    boxes = [tile.box for tile in Viewer(classifier, view).see(frame(pixels)).tiles]
    assert boxes == [(320, 0, 640, 240), (0, 240, 320, 480), (320, 240, 640, 480)]
    drawn = Image.new("L", (64, 48), 255)
    drawn.paste(0, (0, 0, 32, 24))
    drawn.save(tmp_path / "mask.png")
    view = View(tiles=(2, 2), overlap=0.0, mask=tmp_path / "mask.png")
    assert [tile.box for tile in Viewer(classifier, view).see(frame(pixels)).tiles] == boxes
    painted = pixels.copy()
    painted[:240, :320] = PAD_COLOUR
    found = Viewer(classifier, View(mask=tmp_path / "mask.png")).see(frame(pixels))
    expected = classifier.classify(painted).probabilities
    assert np.array_equal(found.probabilities, expected)
    assert (pixels[0, 0] == devices.COLOURS["beetle"]).all()


def test_a_mask_that_leaves_nothing_or_does_not_fit_is_refused(classifier, tmp_path):
    """Everything masked, another shape, no picture: each says what to do."""
    everything = (((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)),)
    with pytest.raises(ImageError, match=r"640 x 480 pixels is left to look at"):
        Viewer(classifier, View(mask_polygons=everything)).see(frame(scene({})))
    Image.new("L", (100, 100)).save(tmp_path / "square.png")
    with pytest.raises(ImageError, match=r"100 x 100 pixels and the picture another shape"):
        Viewer(classifier, View(mask=tmp_path / "square.png")).see(frame(scene({})))
    with pytest.raises(ConfigError, match=r"view.mask: .*none.png: no such file"):
        Viewer(classifier, View(mask=tmp_path / "none.png"))


def test_boxes_that_touch_are_one_group_also_through_others():
    """Shared edges and corners join; a gap parts."""
    a, b, c, far = (0, 0, 10, 10), (10, 0, 20, 10), (20, 10, 30, 20), (31, 0, 40, 9)
    assert touch(b, c)
    assert not touch(c, far)
    assert join([a, c, far, b]) == [[0, 1, 3], [2]]
    assert join([]) == []


def test_regions_of_one_class_do_not_lie_over_one_another():
    """Two groups whose tiles do not touch, but the boxes around them overlap, are one region."""
    corner = [(0, 0, 10, 10), (0, 10, 10, 20), (0, 20, 10, 30), (10, 20, 20, 30), (20, 20, 30, 30)]
    inside, outside = (20, 0, 30, 10), (40, 0, 50, 10)
    assert join([*corner, inside, outside]) == [[0, 1, 2, 3, 4, 5], [6]]


def tile(box, label="aphid", confidence=0.9, reason=None):
    """Give a tile's result."""
    other = (Score(label, confidence), Score("other", round(1 - confidence, 6)))
    probabilities = np.array([confidence, 1 - confidence], np.float32)
    named = None if reason else label
    return Tile(
        box, Classification(named, confidence, reason, other, probabilities, Timings(1.0, 2.0))
    )


def look(*tiles):
    """Give a frame's classification made of tiles."""
    return together(tiles)


def test_tiles_of_one_class_are_one_finding_with_its_regions():
    """The surest tile gives confidence and alternatives; places apart are regions of their own."""
    found = look(
        tile((0, 0, 10, 10), confidence=0.7),
        tile((8, 0, 18, 10), confidence=0.9),
        tile((50, 50, 60, 60), confidence=0.8),
        tile((20, 20, 30, 30), "mite", 0.95),
    )
    mite, aphid = findings(found, {}, frozenset())
    assert (mite.label, mite.confidence, mite.regions[0].box) == ("mite", 0.95, (20, 20, 30, 30))
    assert (aphid.confidence, aphid.alternatives[0].confidence) == (0.9, 0.9)
    assert [(r.box, r.confidence, r.tiles) for r in aphid.regions] == [
        ((0, 0, 18, 10), 0.9, 2),
        ((50, 50, 60, 60), 0.8, 1),
    ]
    assert found.timings == Timings(4.0, 8.0)


def test_unknown_beside_a_class_is_a_piece_of_it():
    """Unknown tiles count only where they touch no tile with a label."""
    beside = tile((10, 0, 20, 10), reason="unknown")
    apart = tile((40, 0, 50, 10), reason="unknown")
    here = tile((0, 0, 10, 10))
    assert [one.label for one in findings(look(here, beside), {}, frozenset())] == ["aphid"]
    both = findings(look(here, beside, apart), {}, frozenset())
    assert [(one.label, one.reason) for one in both] == [("aphid", None), (None, "unknown")]
    assert both[1].regions[0].box == (40, 0, 50, 10)


def test_weak_and_background_tiles_say_nothing_unless_there_is_nothing_else():
    """Where no tile says anything, one finding says why: the surest below its threshold."""
    weak = tile((0, 0, 9, 9), confidence=0.3, reason="below-threshold")
    ground = tile((9, 9, 20, 20), "leaf")
    said = findings(look(weak, ground, tile((30, 30, 40, 40))), {}, frozenset({"leaf"}))
    assert [one.label for one in said] == ["aphid"]
    (nothing,) = findings(look(weak, ground), {}, frozenset({"leaf"}))
    assert (nothing.label, nothing.reason) == (None, "below-threshold")
    (nothing,) = findings(look(ground), {}, frozenset({"leaf"}))
    assert (nothing.reason, nothing.regions[0].box) == ("background", (9, 9, 20, 20))


def test_classes_vote_side_by_side():
    """Two classes in every frame are two events, each with votes and rest of its own."""
    both = look(tile((0, 0, 9, 9)), tile((50, 50, 60, 60), "mite", 0.8))
    decider = Decider(Decision(mode="votes", agree=2, of=3, cooldown_seconds=10))
    seen = [[event.label for event in decider.see(both, now, TAKEN)] for now in range(13)]
    assert seen[1] == ["aphid", "mite"]
    assert [now for now, labels in enumerate(seen) if labels] == [1, 11]


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ({"tiles": 8}, "view.tiles = 8 is refused: expected int >= 16"),
        ({"tiles": [4]}, "view.tiles = [4] is refused: expected array of length >= 2"),
        ({"tiles": [0, 3]}, "view.tiles.0 = 0 is refused: expected int >= 1"),
        ({"tile": 640}, "view.tile is no setting; did you mean tiles?"),
        ({"regions": [[0, 0, 2, 1]]}, "view.regions.0.2 = 2 is refused: expected float <= 1.0"),
        ({"regions": [[0.5, 0, 0.5, 1]]}, "view.regions[0] = [0.5, 0.0, 0.5, 1.0] is empty"),
        ({"mask_polygons": [[[0, 0], [1, 1]]]}, "expected array of length >= 3"),
        ({"overlap": 1.0}, "view.overlap = 1.0 is refused: expected float <= 0.9"),
    ],
)
def test_a_wrong_view_is_refused_by_name(view, expected):
    """Path, value and what is allowed."""
    assert expected in refusal({"view": view})


def test_large_photos_become_sightings_with_the_right_regions(tmp_path):
    """Through the real program and broker: two classes, masked and background parts silent."""
    (tmp_path / "photos").mkdir()
    spots = {
        (0, 0, 399, 399): "beetle",
        (1200, 800, 1599, 1199): "aphid",
        (1200, 0, 1599, 399): "beetle",
        (0, 800, 399, 1199): "aphid",
    }
    Image.fromarray(scene(spots, (1600, 1200))).save(tmp_path / "photos" / "a.jpg", quality=95)
    Image.fromarray(scene({}, (1600, 1200))).save(tmp_path / "photos" / "b.jpg", quality=95)
    view = """[view]
tiles = [4, 3]
overlap = 0.0
mask_polygons = [[[0.75, 0.0], [1.0, 0.0], [1.0, 0.34], [0.75, 0.34]]]
[images]
send = true
"""
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        path = devices.config(tmp_path, broker.port, view)
        always = 'mode = "always"\nbackground = ["leaf"]'
        path.write_text(path.read_text().replace('mode = "always"', always))
        process = devices.start("run", "--once", "--config", str(path))
        _, told = process.communicate(timeout=30)
        assert process.returncode == 0, told
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) >= 3)
        found = [json.loads(payload) for payload in subscriber.on("/sighting")]
        pictures = [subscriber.on(f"/sighting/{one['id']}/image") for one in found]
    said = [(o["frame"]["source"], o["label"] or o["reason"], o["frame"]["region"]) for o in found]
    assert sorted(said[:2]) == [
        ("a.jpg", "aphid", [1200, 800, 1600, 1200]),
        ("a.jpg", "beetle", [0, 0, 400, 400]),
    ] or sorted(said[:2]) == [
        ("a.jpg", "aphid", [0, 800, 400, 1200]),
        ("a.jpg", "beetle", [0, 0, 400, 400]),
    ]
    assert said[2][:2] == ("b.jpg", "background")
    (aphid,) = [one for one in found if one["label"] == "aphid"]
    places = sorted(region["box"] for region in aphid["frame"]["regions"])
    assert places == [[0, 800, 400, 1200], [1200, 800, 1600, 1200]]
    assert (aphid["frame"]["width"], aphid["frame"]["height"]) == (1600, 1200)
    assert all(Image.open(io.BytesIO(jpeg)).size == (1024, 768) for (jpeg,) in pictures)


def test_check_says_what_is_looked_at(tmp_path):
    """`wheatear check` counts the tiles of the camera's picture."""
    devices.photos(tmp_path / "photos", 1, (640, 480))
    path = devices.config(tmp_path, 1, "[view]\ntiles = [4, 3]\n")
    process = subprocess.run(
        [sys.executable, "-m", "edge", "check", "--config", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "640 x 480 pixels, looked at in 12 parts" in process.stdout


def test_classify_shows_every_tile_and_what_they_come_to(tmp_path, capsys):
    """`wheatear classify --tiles`: one line a picture, with its tiles and regions."""
    bundle = str(devices.bundle(tmp_path / "m.wtr"))
    path = tmp_path / "a.jpg"
    Image.fromarray(scene({(320, 240, 640, 480): "beetle"})).save(path, quality=95)
    command = ["classify", str(path), "--bundle", bundle, "--runtime", "fake"]
    assert main([*command, "--tiles", "2x2", "--overlap", "0"]) == 0
    line = json.loads(capsys.readouterr().out)
    shown = line["parts"]
    assert shown["size"] == [640, 480]
    assert [tile["label"] for tile in shown["tiles"]] == ["leaf", "leaf", "leaf", "beetle"]
    assert shown["tiles"][3]["box"] == [320, 240, 640, 480]
    boxes = {one["label"]: [r["box"] for r in one["regions"]] for one in shown["findings"]}
    assert boxes == {"leaf": [[0, 0, 640, 480]], "beetle": [[320, 240, 640, 480]]}
    assert main([*command, "--tiles", "2x2", "--ignore", "leaf"]) == 0
    assert [one["label"] for one in json.loads(capsys.readouterr().out)["parts"]["findings"]] == [
        "beetle"
    ]
    assert main([*command, "--region", "0.5,0.5,1,1"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] == "beetle"
    assert main(command) == 0
    assert "parts" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--tiles", "four"], "--tiles four: give columns x rows"),
        (["--tiles", "4"], "Expected `int` >= 16"),
        (["--overlap", "0.5"], "go with --tiles, --region or --mask"),
        (["--draw", "x"], "go with --tiles, --region or --mask"),
        (["--region", "0,0,2,1"], "Expected `float` <= 1.0"),
        (["--region", "0.5,0,0.5,1"], "is empty"),
        (["--mask", "none.png"], "none.png: no such file"),
    ],
)
def test_classify_refuses_a_wrong_view_in_one_line(tmp_path, capsys, options, expected):
    """Status 1, the option named."""
    bundle = str(devices.bundle(tmp_path / "m.wtr"))
    path = tmp_path / "a.png"
    path.write_bytes(devices.photo("aphid", form="PNG"))
    assert main(["classify", str(path), "--bundle", bundle, "--runtime", "fake", *options]) == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert expected in told


def test_a_drawing_shows_mask_tiles_and_regions(tmp_path, capsys):
    """Masked areas are dark, tiles thin and white, a region thick in its class's colour."""
    bundle = str(devices.bundle(tmp_path / "m.wtr"))
    path, mask = tmp_path / "a.png", Image.new("L", (64, 48), 255)
    Image.fromarray(scene({(320, 240, 640, 480): "beetle"})).save(path)
    mask.paste(0, (0, 0, 32, 10))
    mask.save(tmp_path / "mask.png")
    command = ["classify", str(path), "--bundle", bundle, "--runtime", "fake", "--tiles", "2x2"]
    options = ["--overlap", "0", "--ignore", "leaf", "--mask", str(tmp_path / "mask.png")]
    assert main([*command, *options, "--draw", str(tmp_path / "drawn")]) == 0
    capsys.readouterr()
    drawn = np.asarray(Image.open(tmp_path / "drawn" / "a.jpg")).astype(int)
    assert drawn.shape == (480, 640, 3)

    def near(where, colour, tolerance=40):
        return np.abs(drawn[where] - np.array(colour)).max() < tolerance

    assert near((50, 100), np.array(devices.COLOURS["leaf"]) // 4)
    assert near((400, 100), devices.COLOURS["leaf"])
    assert near((400, 321), colour_of("beetle"))
    assert drawn[400, 0].min() > 180


def test_a_tile_of_twice_the_models_side_is_not_resized():
    """The JPEG is decoded at half scale; each tile of 64 is then the 32 that the model takes."""
    view, size = View(tiles=64), (640, 480)
    pixels = see(devices.photo("aphid", size), SPEC, view)
    assert pixels.shape == (240, 320, 3)
    for box in layout(view, size):
        left, top, right, bottom = scaled(box, size, (320, 240))
        assert (right - left, bottom - top) == (32, 32)
