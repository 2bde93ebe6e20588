"""What a picture is: the same for training, replay and classifying a folder."""

from pathlib import Path

import pytest
from PIL import Image

from edge.cameras.folder import Folder
from edge.config import FolderCamera
from edge.errors import CameraError
from edge.model.image.picture_files import is_picture, list_pictures
from edge.model.image.preprocessing import InputSpec

VISIBLE = """
a.jpg a.JPG a.jpeg a.jfif a.jpe a.jif a.mpo a.png a.TIF a.webp a.avif a.bmp a.gif a.jp2 x.y.jpg
Thumbs.jpg a/ä.jpg
"""
HIDDEN = """
.a.jpg ._a.jpg .thumbnails/a.jpg .Trash-1000/files/a.jpg @eaDir/a.jpg/b.jpg $RECYCLE.BIN/a.jpg
__MACOSX/a.jpg deep/.cache/a.jpg LOST.DIR/a.jpg #recycle/a.jpg
"""
SPEC = InputSpec(width=16, height=16)


def put(root: Path, *names: str) -> Path:
    """Make files that hold a JPEG each, whatever they are called."""
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(file, "JPEG")
    return root


def replayed(path: Path) -> list[str]:
    """The names of the pictures that the replay camera delivers."""
    camera = Folder(FolderCamera(path=path), SPEC)
    return [frame.source for frame in iter(camera.capture, None)]


@pytest.mark.parametrize("name", VISIBLE.split())
def test_a_visible_file_with_a_pictures_suffix_is_a_picture(tmp_path, name):
    """Listing and replay take it, in any case of letters."""
    put(tmp_path, name)
    assert is_picture(name)
    assert list_pictures(tmp_path).pictures == (name,)
    assert list_pictures(tmp_path).notes() == ()
    assert replayed(tmp_path) == [name]


@pytest.mark.parametrize("name", [*HIDDEN.split(), "System Volume Information/a.jpg"])
@pytest.mark.parametrize("pattern", ["", "**/*", "**/*.jpg"])
def test_hidden_files_and_folders_are_left_out(tmp_path, name, pattern):
    """Copies, thumbnails and deleted files are no pictures."""
    put(tmp_path, "seen.jpg", name)
    assert replayed(tmp_path / pattern) == ["seen.jpg"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (".thumbnails/a.jpg", "1 hidden file or folder, not used: .thumbnails"),
        ("Thumbs.db", "1 hidden file or folder, not used: Thumbs.db"),
        ("notes.txt", "1 file without a picture's suffix, not used: notes.txt"),
        ("a.jpg~", "1 file without a picture's suffix, not used: a.jpg~"),
        ("IMG_0001", "1 file without a picture's suffix, not used: IMG_0001"),
        ("a.HEIC", "1 photo in a format that cannot be read here (1 HEIC), not used: a.HEIC; save"),
        ("a.cr2", "(1 raw), not used: a.cr2; save them as JPEG"),
    ],
)
def test_what_is_left_out_is_told(tmp_path, caplog, name, said):
    """By the listing, and by replay in its log."""
    put(tmp_path, "seen.jpg", name)
    (note,) = list_pictures(tmp_path).notes()
    assert said in note
    assert replayed(tmp_path) == ["seen.jpg"]
    assert said in caplog.text


def test_a_folder_of_unreadable_photos_says_so(tmp_path):
    """The error tells the format, not only that no picture is there."""
    put(tmp_path, "a.heic", "b.heic")
    with pytest.raises(CameraError, match=r"no picture in .*2 photos .* \(2 HEIC\).*save them"):
        replayed(tmp_path)


def test_a_hidden_folder_that_is_named_is_looked_through(tmp_path):
    """Only what lies below the given folder is judged by its name."""
    put(tmp_path, ".photos/a.jpg", ".photos/.b.jpg")
    assert replayed(tmp_path / ".photos") == ["a.jpg"]
    assert replayed(tmp_path / ".photos" / "*.jpg") == ["a.jpg"]


def test_a_pattern_that_names_a_suffix_takes_it(tmp_path, caplog):
    """Whoever asks for ``*.dat`` gets them; ``*`` gives pictures and says what it leaves out."""
    put(tmp_path, "a.dat", "b.jpg", "c.txt")
    assert replayed(tmp_path / "*.dat") == ["a.dat"]
    assert replayed(tmp_path / "*") == ["b.jpg"]
    assert "2 matching files are hidden or no picture, not used" in caplog.text


def test_links_in_a_circle_end(tmp_path):
    """Each real folder is looked through once; a link to nothing is told."""
    put(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    listing = list_pictures(tmp_path)
    assert listing.pictures == ("a/1.jpg",)
    assert listing.notes() == ("cannot be opened, not used: gone.jpg",)
