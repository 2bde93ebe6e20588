"""JPEG files that decode although a part of their data is lost."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from training.data.check import check
from training.data.jpeg_damage import damage
from training.data.sources import load_dataset


def photo(seed: int = 0, size: tuple[int, int] = (331, 250), **options: object) -> bytes:
    """A JPEG of a rough picture."""
    random = np.random.default_rng(seed)
    rough = Image.fromarray(random.integers(0, 256, (30, 40, 3), np.uint8)).resize(size)
    return encode(rough, **options)


def encode(image: Image.Image, **options: object) -> bytes:
    """A picture as JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


def with_sector(data: bytes, at: float, sector: bytes) -> bytes:
    """Write over a part of the data."""
    start = int(len(data) * at)
    return data[:start] + sector + data[start + len(sector) :]


def exif() -> bytes:
    """EXIF data."""
    notes = Image.Exif()
    notes[271] = "ACME"
    return notes.tobytes()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimize": True},
        {"quality": 100, "subsampling": 0},
        {"quality": 5},
        {"progressive": True},
        {"restart_marker_rows": 1},
        {"restart_marker_blocks": 3},
        {"exif": exif()},
        {"size": (513, 342)},
        {"size": (1, 1)},
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_sound_photo_is_sound(seed, options):
    """Whatever the encoder's options."""
    assert damage(photo(seed, **options)) is None


@pytest.mark.parametrize("colour", [0, 127, 128, 255])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_flat_picture_is_sound(colour, options, mode):
    """Black, white and the grey that libjpeg leaves where data are missing."""
    assert damage(encode(Image.new("L", (640, 480), colour).convert(mode), **options)) is None


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"restart_marker_rows": 4}])
@pytest.mark.parametrize("sector", [bytes(512), bytes(4096)], ids=["sector", "cluster"])
@pytest.mark.parametrize("at", [0.2, 0.5, 0.7])
def test_a_zeroed_sector_is_found(at, sector, options):
    """Pillow decodes the file without a word, and it is no longer the picture."""
    sound = photo(**options)
    hurt = with_sector(sound, at, sector)
    Image.open(io.BytesIO(hurt)).load()
    assert damage(hurt) is not None


@pytest.mark.parametrize("seed", range(8))
def test_a_foreign_sector_is_found(seed):
    """Data of another file in between, without markers that would stop the decoder."""
    foreign = np.random.default_rng(seed).integers(1, 255, 512, np.uint8).tobytes()
    assert damage(with_sector(photo(), 0.4, foreign)) is not None


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_cut_file_with_an_end_is_found(share):
    """As recovery programs make them: the rest is grey."""
    data = photo()
    cut = data[: int(len(data) * share)].rstrip(b"\xff") + b"\xff\xd9"
    assert damage(cut) == "data are missing; the picture is shifted, or ends in grey"


def test_a_lost_restart_marker_is_found():
    """Their numbers must follow each other."""
    data = photo(restart_marker_rows=1)
    lost = data.replace(b"\xff\xd3", b"\x11\x11", 1)
    assert damage(lost) == "restart markers are missing or out of order"


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"no picture"])
def test_what_is_no_jpeg_is_left_to_others(data):
    """The decoder says what is wrong with it."""
    assert damage(data) is None


def test_check_names_damaged_and_odd_photos(tmp_path):
    """An error for pixels that are wrong, a warning for colours that may be."""
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "sound.jpg").write_bytes(photo(len(label)))
    (tmp_path / "a" / "hurt.jpg").write_bytes(with_sector(photo(5), 0.4, bytes(512)))
    (tmp_path / "b" / "odd.jpg").write_bytes(photo(6, icc_profile=b"nonsense"))
    found = {f.kind: f for f in check(load_dataset(tmp_path)).findings}
    assert found["damaged"].severity == "error"
    assert [case.photos for case in found["damaged"].cases] == [(0,)]
    assert "zeros in place of data" in found["damaged"].cases[0].text
    assert [case.photos for case in found["odd-colours"].cases] == [(2,)]
