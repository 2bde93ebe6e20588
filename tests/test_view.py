"""Parts of a picture as a model sees them: tiles, masks, drawings."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import devices
import numpy as np
import pytest
from brokers import Mosquitto, Subscriber
from PIL import Image, ImageDraw

from edge.commands.cli import main
from edge.commands.drawing import colour_of, draw, targets
from edge.config import View
from edge.errors import ConfigError, ImageError
from edge.messages.sighting import Finding, Region
from edge.model.classifier import Classifier
from edge.model.image.preprocessing import PAD_COLOUR, fit
from edge.model.tiled_classifier import TiledClassifier
from edge.sightings.findings import findings

WHOLE = (640, 480)


def scene(spots: dict[tuple[int, int, int, int], str], size=WHOLE, ground="leaf"):
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
    found = TiledClassifier(classifier, View(tiles=(2, 2), overlap=0.0)).look(pixels, WHOLE)
    assert len(found.tiles) == 4
    for tile in found.tiles:
        left, top, right, bottom = tile.box
        alone = classifier.classify(fit(pixels[top:bottom, left:right], classifier.input))
        assert np.array_equal(tile.found.probabilities, alone.probabilities)
    assert found.confidence == max(tile.found.confidence for tile in found.tiles)


def test_boxes_are_pixels_of_the_picture_as_taken(classifier):
    """A frame decoded at a quarter finds the same places."""
    pixels = scene({(320, 240, 640, 480): "beetle"})
    viewer = TiledClassifier(classifier, View(tiles=(2, 2), overlap=0.0))
    found = viewer.look(pixels[::4, ::4], (640, 480))
    (beetle,) = findings(found, {}, frozenset({"leaf"}))
    assert beetle.regions[0].box == (320, 240, 640, 480)


def test_what_is_masked_is_painted_over_and_mostly_masked_tiles_are_left_out(classifier, tmp_path):
    """A polygon and a drawn mask hide; a tile masked by half stays, with grey in place."""
    pixels = scene({(0, 0, 320, 240): "beetle"})
    quarter = ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.5))
    view = View(tiles=(2, 2), overlap=0.0, mask_polygons=(quarter,))
    boxes = [tile.box for tile in TiledClassifier(classifier, view).look(pixels, WHOLE).tiles]
    assert boxes == [(320, 0, 640, 240), (0, 240, 320, 480), (320, 240, 640, 480)]
    drawn = Image.new("L", (64, 48), 255)
    drawn.paste(0, (0, 0, 32, 24))
    drawn.save(tmp_path / "mask.png")
    view = View(tiles=(2, 2), overlap=0.0, mask=tmp_path / "mask.png")
    assert [
        tile.box for tile in TiledClassifier(classifier, view).look(pixels, WHOLE).tiles
    ] == boxes
    painted = pixels.copy()
    painted[:240, :320] = PAD_COLOUR
    found = TiledClassifier(classifier, View(mask=tmp_path / "mask.png")).look(pixels, WHOLE)
    expected = classifier.classify(painted).probabilities
    assert np.array_equal(found.probabilities, expected)
    assert (pixels[0, 0] == devices.COLOURS["beetle"]).all()


def test_a_mask_that_leaves_nothing_or_does_not_fit_is_refused(classifier, tmp_path):
    """Everything masked, another shape, no picture: each says what to do."""
    everything = (((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)),)
    with pytest.raises(ImageError, match=r"640 x 480 pixels is left to look at"):
        TiledClassifier(classifier, View(mask_polygons=everything)).look(scene({}), WHOLE)
    Image.new("L", (100, 100)).save(tmp_path / "square.png")
    with pytest.raises(ImageError, match=r"100 x 100 pixels and the picture another shape"):
        TiledClassifier(classifier, View(mask=tmp_path / "square.png")).look(scene({}), WHOLE)
    with pytest.raises(ConfigError, match=r"view.mask: .*none.png: no such file"):
        TiledClassifier(classifier, View(mask=tmp_path / "none.png"))


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
        (["--tiles", "4"], "--tiles 4: it must be 16 or more"),
        (["--tiles", "0x3"], "--tiles 0x3: it must be 1 or more"),
        (["--tiles", "1x2x3"], "--tiles 1x2x3: it must have at most 2 entries"),
        (["--tiles", "2x2", "--overlap", "2"], "--overlap 2.0: it must be at most 0.9"),
        (["--region", "0,0,1"], "--region 0,0,1: it must have 4 entries"),
        (["--overlap", "0.5"], "go with --tiles, --region or --mask"),
        (["--draw", "x"], "go with --tiles, --region or --mask"),
        (["--region", "0,0,2,1"], "--region 0,0,2,1: it must be at most 1"),
        (["--region", "0.5,0,0.5,1"], "is empty"),
        (["--mask", "none.png"], "none.png: no such file"),
        (["--tiles", "2x2", "--ignore", "Leaf"], "--ignore names 'Leaf', which the model does not"),
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


def test_drawings_of_files_with_one_name_lie_apart(tmp_path):
    """None is written over: by the suffix, then by the folder; also where case does not count."""
    names = ("a/x.png", "b/x.png", "b/x.jpg", "b/Y.png", "b/y.jpg", "b/z.png", "c/x.jpg.png")
    files = [str(tmp_path / name) for name in names]
    found = targets(tmp_path / "out", [*files, str(tmp_path / "a" / "." / "x.png")])
    drawn = [found[file].relative_to(tmp_path / "out").as_posix() for file in files]
    assert drawn == [
        *("a/x.png.jpg", "b/x.png.jpg", "b/x.jpg.jpg", "Y.png.jpg", "y.jpg.jpg", "z.jpg"),
        "x.jpg.jpg",
    ]
    assert len(set(found.values())) == len(files)


def test_no_photo_is_drawn_over(tmp_path, capsys):
    """Neither one that is classified nor another; drawings are replaced by later ones."""
    bundle = str(devices.bundle(tmp_path / "m.wtr"))
    folder = tmp_path / "photos"
    folder.mkdir()
    photo, other = folder / "a.jpg", tmp_path / "a.png"
    Image.fromarray(scene({(320, 240, 640, 480): "beetle"})).save(photo, quality=95)
    Image.fromarray(scene({(0, 0, 640, 480): "beetle"})).save(other)
    before = photo.read_bytes()
    command = ["--bundle", bundle, "--runtime", "fake", "--tiles", "2x2", "--draw"]
    for file in (photo, other):
        assert main(["classify", str(file), *command, str(folder)]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert f"{photo} exists and is not a drawing made by wheatear; name another" in captured.err
    assert photo.read_bytes() == before
    for file in (photo, other):
        assert main(["classify", str(file), *command, str(tmp_path / "drawn")]) == 0
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["a.jpg"]


def test_a_name_at_the_edge_of_a_drawing_is_whole():
    """It moves to the left until it fits."""

    def letters(left: int) -> int:
        region = Region(box=(left, 0, left + 20, 40), confidence=0.9)
        found = Finding(
            label="beetle", reason=None, confidence=0.9, alternatives=(), regions=(region,)
        )
        black = np.zeros((100, 400, 3), np.uint8)
        drawn = np.asarray(draw(black, (400, 100), None, (), (found,)))
        return int((drawn.min(axis=2) > 120).sum())

    assert letters(380) == letters(200) > 20
