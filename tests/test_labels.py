"""Label files: read by their layout, or refused; never moved by one."""

from __future__ import annotations

import re

import pytest

from edge.errors import ModelError
from edge.model.tflite.labels import parse_labels, read_labels

ABC = ("ant", "bee", "cricket")


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("ant\nbee\ncricket\n\n", ABC),
        ("\ufeffant\r\nbee\r\ncricket\r\n", ABC),
        ("0  ant\n1  bee, honey\n", ("ant", "bee, honey")),
        ("1: bee\n0: ant", ("ant", "bee")),
        ("0;ant\n1;bee\n2;cricket", ABC),
        ("2\tcricket\n0\tant\n1\tbee", ABC),
        ("12 spotted ladybird\nbee\n", ("12 spotted ladybird", "bee")),
        ("bee, honey\nant, red\n", ("bee, honey", "ant, red")),
        ("id,name\n0,ant\n1,bee\n2,cricket\n", ABC),
        ('id,name\n2,cricket\n0,ant\n1,"bee"\n', ABC),
        ("Name;Index\nbee;1\nant;0\ncricket;2\n", ABC),
        ("label\tid\tcolour\nant\t0\tred\nbee\t1\tx\ncricket\t2\tx\n", ABC),
        ('class_id,display_name\n0,"ant, red"\n1,bee\n', ("ant, red", "bee")),
    ],
)
def test_layouts_that_are_known(text, labels):
    """Plain, numbered, and tables by their columns, in any order."""
    assert parse_labels(text, len(labels)).names == labels


@pytest.mark.parametrize(
    ("text", "classes", "labels", "note"),
    [
        ("0 ant\n2 cricket\n", 3, ("ant", "class 1", "cricket"), "without a name: 1; called"),
        ("id,name\n1,ant\n2,bee\n", 3, ("class 0", "ant", "bee"), "without a name: 0; called"),
        ("1 ant\n2 bee\n3 cricket\n", 3, ABC, "begin at 1, as many as there are scores"),
        ("0 ant\n1 ant\n", 2, ("ant", "ant"), r"cannot be told apart: 'ant' \(1, 2\)"),
        ("Ant\nant\n", 2, ("Ant", "ant"), "'Ant' and 'ant'"),
        ("caf\u00e9\ncafe\u0301\n", 2, ("caf\u00e9", "cafe\u0301"), "accents' form only"),
        ("red ant\nred  ant\nred_ant", 3, ("red ant", "red  ant", "red_ant"), "blanks"),
        ("id,name\n0,ant\n1,bee\n", 2, ("ant", "bee"), "a table, read by its columns 'id,name'"),
    ],
)
def test_what_is_filled_in_or_alike_is_told(text, classes, labels, note):
    """Nothing is made up without a word."""
    read = parse_labels(text, classes)
    assert read.names == labels
    assert any(re.search(note, one) for one in read.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("ant\n\nbee\n", "blank line 2"),
        ("0 ant\n0 bee\n", "the number 0 twice, on line 2"),
        ("0 ant\n999999 bee\n", "beyond 100000"),
        ("ant\nbee\nant\n", r"twice: 'ant' \(1, 3\); one line too many shifts"),
        ("label\nant\nbee\n", "line 1, 'label', looks like a header"),
        ("Klasse;Bezeichnung\n0;rot\n1;blau\n", "line 1, 'Klasse;Bezeichnung', has no number"),
        ("filename,class\na.jpg,ant\n", "the header 'filename,class'; name one column id"),
        ("id,name\n0,ant,red\n1,bee\n", "line 2, '0,ant,red', does not fit the header"),
        ("id,name\nx,ant\n", "line 2, 'x,ant', does not fit"),
        ("id,name\n", "nothing but the header"),
        ("id,name\n0,ant\n0,bee\n", "the number 0 twice"),
        ("0 ant\nbee\n2 cricket\n", "line 2, 'bee', has no number and most others do"),
        ("ant,0\nbee,1\n", "each line ends in a number"),
    ],
)
def test_other_layouts_are_refused_with_their_line(tmp_path, text, message):
    """Nothing is guessed; the file is named."""
    file = tmp_path / "labels.txt"
    file.write_text(text)
    with pytest.raises(ModelError, match=f"label file {file}: .*{message}"):
        read_labels(file, 2)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_label_file_is_read_as_an_editor_saved_it(tmp_path, encoding):
    """With a byte order mark."""
    file = tmp_path / "labels.csv"
    file.write_bytes("id,name\r\n1,bee\r\n0,ant\r\n".encode(encoding))
    assert read_labels(file, 2).names == ("ant", "bee")
