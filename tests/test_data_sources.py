"""Reading labelled photos from folders and CSV files."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from edge.errors import DataError
from training.data.dataset import Dataset, Example
from training.data.sources import load_dataset
from training.data.tables import read_csv, write_csv


def photo(path, colour=(90, 120, 60)):
    """Write a small picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 24), colour).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes, with names as people give them."""
    root = tmp_path / "meine Fotos"
    photo(root / "Käfer" / "Tag 1" / "bild (1).JPG")
    photo(root / "Käfer" / "b.png")
    photo(root / "leer" / "c.bmp")
    return root


def test_each_folder_is_a_class_however_deep_and_whatever_its_name(folder):
    """Nested folders, spaces and umlauts are read; paths are relative with forward slashes."""
    dataset = load_dataset(folder)
    assert [(e.file, e.label) for e in dataset.examples] == [
        ("Käfer/Tag 1/bild (1).JPG", "Käfer"),
        ("Käfer/b.png", "Käfer"),
        ("leer/c.bmp", "leer"),
    ]
    assert dataset.labels == ("Käfer", "leer")


def test_what_is_no_photo_is_left_out_and_said(folder):
    """Notes, hidden files, stray photos and empty folders do not become examples."""
    (folder / "Käfer" / "notes.txt").write_text("x")
    (folder / "Käfer" / "._b.png").write_text("x")
    (folder / "nichts").mkdir()
    photo(folder / "stray.jpg")
    dataset = load_dataset(folder)
    assert len(dataset) == 3
    assert [note.title for note in dataset.notes] == [
        "folders without a photo: nichts",
        "1 photo outside any class folder, not used: stray.jpg",
        "1 hidden file or folder, not used: Käfer/._b.png",
        "1 file without a picture's suffix, not used: Käfer/notes.txt",
    ]


def test_a_link_that_loops_is_followed_once(folder):
    """A symbolic link to a parent neither hangs nor doubles photos."""
    os.symlink(folder, folder / "leer" / "loop")
    assert len(load_dataset(folder)) == 3


def test_split_folders_give_splits(tmp_path):
    """train/valid/test folders that hold classes are splits, not classes."""
    for part in ("train", "valid", "test"):
        photo(tmp_path / part / "moth" / "a.jpg")
    dataset = load_dataset(tmp_path)
    assert {e.split for e in dataset.examples} == {"train", "val", "test"}
    assert dataset.labels == ("moth",)


def test_a_csv_beside_the_photos_is_used_and_named(folder):
    """labels.csv decides labels and groups; a BOM and other columns do no harm."""
    (folder / "labels.csv").write_text(
        "\ufefffile,label,group,day\nKäfer/b.png,beetle,plant 3,monday\nleer/c.bmp,none,,\n",
        encoding="utf-8",
    )
    dataset = load_dataset(folder)
    assert dataset.examples == (
        Example("Käfer/b.png", "beetle", None, "plant 3"),
        Example("leer/c.bmp", "none"),
    )
    assert "labels.csv" in dataset.source
    assert [note.title for note in dataset.notes] == [
        "labels.csv: columns not used: day",
        "1 photo not listed in labels.csv, not used: Käfer/Tag 1/bild (1).JPG",
    ]
    assert load_dataset(folder, ignore_csv=True).labels == ("Käfer", "leer")


def test_written_csv_reads_back_the_same(folder, tmp_path):
    """Splits, groups and odd names survive a round trip, and the bytes are stable."""
    dataset = Dataset(
        folder, (Example('a "b", c.jpg', "x", "val", "g"), Example("Käfer/b.png", "y"))
    )
    write_csv(dataset, tmp_path / "out" / "split.csv")
    assert read_csv(tmp_path / "out" / "split.csv") == dataset.examples
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "split.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na.jpg,x\n", "column file missing"),
        ("file,label,split\nb.jpg,x,training set\n", "line 2: unknown split 'training set'"),
        (
            "file,label\nKäfer/b.png,x\n./Käfer/b.png,y\n",
            "line 3: Käfer/b.png is already on line 2",
        ),
        ("file,label\n../b.png,x\n", "must be a path inside"),
        ("file,label\nb.png,\n", "must not be empty"),
        ("file,label\na,b.png,x\n", "quote names that hold commas"),
        ("file,label\n", "holds no rows"),
        ("file,label\nKäfer/gone.png,x\n", "1 of 1 files are not below"),
    ],
)
def test_a_wrong_csv_says_the_line_and_the_cure(folder, text, message):
    """Each mistake is a DataError that a person can act on."""
    table = folder / "mine.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load_dataset(table)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("a.JPG", "one picture; give the folder"),
        ("a.heic", "one picture; give the folder"),
        ("photos.zip", "an archive; unpack it"),
        ("photos.tar.gz", "an archive; unpack it"),
    ],
)
def test_a_file_that_is_no_table_is_told_as_what_it_is(tmp_path, name, cure):
    """Not as a table in the wrong encoding."""
    (tmp_path / name).write_bytes(b"\xff\xd8")
    with pytest.raises(DataError, match=cure):
        load_dataset(tmp_path / name)


def test_a_csv_that_is_no_text_is_refused(tmp_path):
    """A spreadsheet file is told apart from a CSV."""
    (tmp_path / "x.csv").write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(DataError, match="save it as UTF-8"):
        load_dataset(tmp_path / "x.csv")


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_nothing_to_read_is_an_error(tmp_path, name):
    """An absent and an empty folder each say so."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no such folder|no labelled photos found"):
        load_dataset(tmp_path / name)


def test_the_fingerprint_follows_content_and_labels_only(folder):
    """Renaming a file changes nothing; another label does."""
    before = load_dataset(folder).fingerprint()
    (folder / "leer" / "c.bmp").rename(folder / "leer" / "other.bmp")
    after = load_dataset(folder)
    assert after.fingerprint() == before
    relabelled = after.with_examples(Example(e.file, "x") for e in after.examples)
    assert relabelled.fingerprint() != before
