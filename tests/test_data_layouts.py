"""Photos as other programs and downloads lay them out: read, or recognised and refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from scenes import scene, scenes

from edge.errors import DataError
from training.data.check import check
from training.data.sources import load_dataset


def told(dataset, kind):
    """What was noticed of a kind while reading."""
    return [(note.severity, note.title) for note in dataset.notes if note.kind == kind]


def test_folders_beside_train_val_and_test_are_told_and_not_classes(tmp_path):
    """Annotations hold no photos; photos to predict are counted."""
    for part in ("train", "val", "Test"):
        scenes(tmp_path / part / "aphid", 2, 0)
        scenes(tmp_path / part / "moth", 2, 10)
    scenes(tmp_path / "predict", 3, 20)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.xml").write_text("<annotation/>")
    dataset = load_dataset(tmp_path)
    assert dataset.labels == ("aphid", "moth")
    assert {e.split for e in dataset.examples} == {"train", "val", "test"}
    assert told(dataset, "empty-class") == [("warning", "folders without a photo: annotations")]
    ((severity, words),) = told(dataset, "not-used")
    assert severity == "warning"
    assert words.startswith("3 photos in predict/, beside train, val and test, not used: predict/")


def test_photos_directly_in_a_split_folder_are_told(tmp_path):
    """A test folder without labels, as competitions have, is not a class."""
    scenes(tmp_path / "train" / "aphid", 2, 0)
    scenes(tmp_path / "train" / "moth", 2, 10)
    scenes(tmp_path / "test", 3, 20)
    dataset = load_dataset(tmp_path)
    assert dataset.labels == ("aphid", "moth")
    assert told(dataset, "not-used")[0][1].startswith("3 photos outside any class folder")


def test_splits_inside_the_class_folders_are_splits(tmp_path):
    """aphid/train, aphid/val: the same as train/aphid, val/aphid."""
    for label in ("aphid", "moth"):
        for part in ("train", "val"):
            scenes(tmp_path / label / part, 2, 0)
    dataset = load_dataset(tmp_path)
    assert dataset.labels == ("aphid", "moth")
    assert {e.file.split("/")[1]: e.split for e in dataset.examples} == {
        "train": "train",
        "val": "val",
    }


@pytest.mark.parametrize("name", ["unlabelled", "Unlabeled", "predict", "unsorted"])
def test_a_folder_of_photos_without_labels_is_no_class(tmp_path, name):
    """Left out and counted, by its usual names."""
    for i, label in enumerate(("aphid", "moth", name)):
        scenes(tmp_path / label, 2, 10 * i)
    dataset = load_dataset(tmp_path)
    assert dataset.labels == ("aphid", "moth")
    assert told(dataset, "unlabelled") == [("warning", "2 photos not labelled yet, not used")]


def yolo(root):
    """Images and boxes in folders of their own."""
    scenes(root / "images" / "train", 2, 0)
    (root / "labels" / "train").mkdir(parents=True)
    (root / "labels" / "train" / "p00.txt").write_text("0 0.5 0.5 0.1 0.2\n")


def yolo_in_splits(root):
    """The layout of its newer versions."""
    for i, part in enumerate(("train", "valid")):
        scenes(root / part / "images", 2, 10 * i)
        (root / part / "labels").mkdir()
    (root / "data.yaml").write_text("nc: 2\nnames: [aphid, moth]\n")


def coco(root):
    """One JSON with all boxes."""
    scenes(root / "images", 2, 0)
    (root / "annotations").mkdir()
    boxes: dict[str, list[object]] = {"images": [], "annotations": [], "categories": []}
    (root / "annotations" / "all.json").write_text(json.dumps(boxes))


def voc(root):
    """An XML for each picture."""
    scenes(root / "JPEGImages", 2, 0)
    (root / "Annotations").mkdir()
    (root / "Annotations" / "p00.xml").write_text("<annotation><object/></annotation>")


def voc_beside(root):
    """The same, everything in one folder."""
    scenes(root, 2, 0)
    (root / "p00.xml").write_text('<?xml version="1.0"?>\n<annotation/>')


def roboflow_coco(root):
    """Pictures and one JSON in each split."""
    for i, part in enumerate(("train", "valid", "test")):
        scenes(root / part, 2, 10 * i)
        (root / part / "_annotations.coco.json").write_text("{}")


def roboflow_several(root):
    """Several labels a picture."""
    for i, part in enumerate(("train", "valid", "test")):
        scenes(root / part, 2, 10 * i)
        (root / part / "_classes.csv").write_text("filename, aphid, moth\n")


def too_deep(root):
    """A zip file inside its own folder."""
    for i, label in enumerate(("aphid", "moth")):
        scenes(root / "photos" / label, 2, 10 * i)


def splits_too_deep(root):
    """The same, around given splits."""
    for i, part in enumerate(("train", "val")):
        scenes(root / "set" / part / "aphid", 2, 10 * i)


def too_shallow(root):
    """The folder of one class."""
    scenes(root, 2, 0)


def in_names(root):
    """Classes in the files' names."""
    for i in range(3):
        scene(root / f"aphid_{i}.png", i)
        scene(root / f"leaf miner ({i}).png", 10 + i)


def splits_only(root):
    """train and val without class folders."""
    scenes(root / "train", 2, 0)
    scenes(root / "val", 2, 10)


def split_or_class(root):
    """A class that is called test, or a split?"""
    for i, name in enumerate(("aphid", "moth", "test")):
        scenes(root / name, 2, 10 * i)


def pictures_only(root):
    """images/ and masks/."""
    scenes(root / "images", 2, 0)
    scenes(root / "masks", 2, 10)


def another_table(root):
    """A table of labels under a name of its own."""
    scenes(root / "images", 2, 0)
    (root / "train.csv").write_text("image_id,species\np00,aphid\n")


REFUSED = {
    another_table: "train.csv looks like a table of labels: if it is, give --split-csv .*train.csv",
    yolo: "looks like YOLO data",
    yolo_in_splits: r"looks like YOLO data, boxes or several labels \(data.yaml\)",
    coco: r"looks like COCO data, boxes or several labels \(annotations/all.json\)",
    voc: "looks like Pascal VOC data",
    voc_beside: "looks like Pascal VOC data",
    roboflow_coco: "looks like COCO data",
    roboflow_several: "looks like a Roboflow export",
    too_deep: r"all photos lie in photos/, in the folders aphid, moth: .* give .*/photos;",
    splits_too_deep: r"all photos lie in set/, in the folders train, val: .* give .*/set;",
    too_shallow: "if all are of one class, give the folder above, ",
    in_names: r"begin with aphid \(3\), leaf miner \(3\)",
    splits_only: "4 photos lie directly in train, val; put them into a folder per class",
    split_or_class: "test beside aphid, moth: part of a split, or a class",
    pictures_only: "images, masks are not names of classes",
}


@pytest.mark.parametrize(
    ("make", "message"), REFUSED.items(), ids=[make.__name__ for make in REFUSED]
)
def test_other_layouts_are_recognised_and_say_what_to_do(tmp_path, make, message):
    """What it is, what is read here, and the way there; no folder becomes a class by mistake."""
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path)


def test_what_lies_around_is_counted_and_named(tmp_path):
    """Hidden files, other files, formats that cannot be read, links to nothing."""
    scenes(tmp_path / "aphid", 2, 0)
    scenes(tmp_path / "moth", 2, 10)
    (tmp_path / "moth" / ".hidden.jpg").write_bytes(b"x")
    (tmp_path / "moth" / "IMG_2.HEIC").write_bytes(b"x")
    (tmp_path / "notes.docx").write_bytes(b"x")
    os.symlink("gone.jpg", tmp_path / "moth" / "link.jpg")
    os.symlink(tmp_path, tmp_path / "moth" / "loop")
    os.symlink("itself", tmp_path / "moth" / "itself")
    os.symlink("top", tmp_path / "top")
    dataset = load_dataset(tmp_path)
    words = " ".join(note.title for note in dataset.notes)
    assert len(dataset) == 4
    for name in (
        "moth/.hidden.jpg",
        "1 HEIC",
        "moth/IMG_2.HEIC",
        "notes.docx",
        "moth/link.jpg",
        "moth/itself",
    ):
        assert name in words
    loud = [note.title for note in dataset.notes if note.severity == "warning"]
    assert len(loud) == 2


def test_a_class_that_vanishes_by_its_format_is_an_error(tmp_path):
    """All photos of moth are HEIC: named with their number and the cure."""
    scenes(tmp_path / "aphid", 2, 0)
    (tmp_path / "moth").mkdir()
    for i in range(3):
        (tmp_path / "moth" / f"IMG_{i}.HEIC").write_bytes(b"x")
    (note,) = (n for n in load_dataset(tmp_path).notes if n.kind == "vanished-class")
    assert note.severity == "error"
    assert note.title.endswith("HEIC, which cannot be read: moth (3)")
    assert "JPEG" in note.advice


def test_classes_whose_names_look_the_same_are_told(tmp_path):
    """Blanks and composition make one class, case and hyphens make two; either is a warning."""
    for i, label in enumerate(("moth", "moth ", "Leaf-Miner", "leaf miner", "a\u0308", "\u00e4")):
        scenes(tmp_path / label, 1, 10 * i)
    dataset = load_dataset(tmp_path)
    assert dataset.labels == ("Leaf-Miner", "leaf miner", "moth", "ä")
    assert len(told(dataset, "same-name")) == 2
    titles = [f.title for f in check(dataset).findings if f.kind == "same-name"]
    assert "classes whose names are almost the same: 'Leaf-Miner' and 'leaf miner'" in titles


def test_names_with_anything_in_them_are_classes(tmp_path):
    """Commas, quotation marks, brackets, newlines: as they are."""
    names = ('a,"b"', "<b>c", "[d]", "e\nf", "蛾", "عث")
    for i, name in enumerate(names):
        scenes(tmp_path / name, 1, 10 * i)
    assert set(load_dataset(tmp_path).labels) == set(names)


def test_a_name_that_is_no_utf_8_is_an_error_that_names_it(tmp_path):
    """Written by an old system; reports and tables could not hold it."""
    scenes(tmp_path / "aphid", 1, 0)
    os.rename(tmp_path / "aphid" / "p00.png", os.fsencode(tmp_path / "aphid") + b"/k\xe4fer.png")
    with pytest.raises(
        DataError, match=r"1 of the files have a name that is not UTF-8, as aphid/k"
    ):
        load_dataset(tmp_path)


def bomb(path):
    """240 megapixels that compress to little."""
    from PIL import Image

    Image.new("1", (20000, 12000)).save(path)


def test_why_a_file_cannot_be_read_is_said_in_the_terminal(tmp_path):
    """The true reason of each, with the file."""
    folder = tmp_path / "photos"
    scenes(folder / "aphid", 3, 0)
    scenes(folder / "moth", 3, 10)
    (folder / "moth" / "zero.jpg").write_bytes(b"")
    (folder / "moth" / "page.jpg").write_bytes(b"\n<!DOCTYPE html><html>")
    (folder / "moth" / "phone.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0")
    (folder / "moth" / "lfs.jpg").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (folder / "moth" / "card.jpg").write_bytes(bytes(2000))
    (folder / "moth" / "text.jpg").write_bytes(b"hello")
    bomb(folder / "moth" / "bomb.png")
    done = subprocess.run(
        [sys.executable, "-m", "training", "check", str(folder), "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "1000"},
        check=False,
    )
    assert done.returncode == 1
    for words in (
        "the file is empty (0 bytes) (moth/zero.jpg)",
        "a web page, not a picture: the download failed (moth/page.jpg)",
        "a HEIC photo under another name cannot be read; save it as JPEG (moth/phone.jpg)",
        "run git lfs pull (moth/lfs.jpg)",
        "nothing but zeros: the copy or the card failed (moth/card.jpg)",
        "not a picture in a format known here (moth/text.jpg)",
        "20000 x 12000 pixels",
    ):
        assert words in done.stdout, words


def test_rows_that_name_no_photo_are_told_apart(tmp_path):
    """Absent, a folder, a HEIC: the terminal says which."""
    scenes(tmp_path / "aphid", 3, 0)
    (tmp_path / "aphid" / "d.jpg").mkdir()
    (tmp_path / "aphid" / "e.HEIC").write_bytes(b"x")
    os.symlink("gone.jpg", tmp_path / "aphid" / "link.jpg")
    rows = ["p00.png,a", "p01.png,b", "gone.png,b", "d.jpg,b", "e.HEIC,b", "link.jpg,b"]
    (tmp_path / "labels.csv").write_text(
        "\n".join(["file,label", *(f"aphid/{row}" for row in rows)])
    )
    dataset = load_dataset(tmp_path, missing_ok=True)
    (finding,) = (f for f in check(dataset).findings if f.kind == "unreadable")
    for words in (
        "absent (aphid/gone.png)",
        "a folder, not a file (aphid/d.jpg)",
        "HEIC",
        "a link to nothing",
    ):
        assert words in finding.title, words


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be locked out as")
def test_a_folder_that_may_not_be_read_is_told():
    """Another user's folder: named, no traceback."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        scenes(folder / "aphid", 2, 0)
        scenes(folder / "moth", 2, 10)
        (folder / "moth" / "mine").mkdir(mode=0o700)
        os.seteuid(65534)
        try:
            dataset = load_dataset(folder)
        finally:
            os.seteuid(0)
    assert ("warning", "cannot be opened, not used: moth/mine/") in told(dataset, "not-used")
