"""Tables of labels as spreadsheets, Windows, Macs and people write them: read, or refused."""

from __future__ import annotations

import pytest
from PIL import Image

from edge.errors import DataError
from training.data.dataset import Dataset, Example
from training.data.names import odd_names
from training.data.sources import load_dataset
from training.data.tables import read_csv, write_csv


@pytest.fixture
def photos(tmp_path):
    """Two photos in a folder per class."""
    root = tmp_path / "photos"
    for name in ("aphid/a1.jpg", "moth/käfer.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 24)).save(root / name)
    return root


READ = {
    "commas": "file,label,group\naphid/a1.jpg,moth,p1\nmoth/käfer.jpg,aphid,p2\n",
    "semicolons": "file;label;group\naphid/a1.jpg;moth;p1\nmoth/käfer.jpg;aphid;p2\n",
    "tabs": "file\tlabel\tgroup\naphid/a1.jpg\tmoth\tp1\nmoth/käfer.jpg\taphid\tp2\n",
    "bars": "file|label|group\naphid/a1.jpg|moth|p1\nmoth/käfer.jpg|aphid|p2\n",
    "semicolons with commas inside": 'file;label;group;note\naphid/a1.jpg;moth;p1;"a, b"\n'
    "moth/käfer.jpg;aphid;p2;c, d\n",
    "Excel's first line": "sep=;\nfile;label;group\naphid/a1.jpg;moth;p1\n"
    "moth/käfer.jpg;aphid;p2\n",
    "other words": "Filename,Class,Group ID\naphid/a1.jpg,moth,p1\nmoth/käfer.jpg,aphid,p2\n",
    "more words": "image_path,CATEGORY,groups\naphid/a1.jpg,moth,p1\nmoth/käfer.jpg,aphid,p2\n",
    "our words before others": "image,file,class,label,group\nx,aphid/a1.jpg,y,moth,p1\n"
    "x,moth/käfer.jpg,y,aphid,p2\n",
    "blanks in the header": " file , label , group \naphid/a1.jpg, moth , p1\n"
    "moth/käfer.jpg,aphid,p2\n",
    "quoted": '"file","label","group"\n"aphid/a1.jpg","moth","p1"\n"moth/käfer.jpg","aphid","p2"\n',
    "a quoted newline elsewhere": 'note,file,label,group\n"two\nlines",aphid/a1.jpg,moth,p1\n'
    ",moth/käfer.jpg,aphid,p2\n",
    "Windows' line ends": "file,label,group\r\naphid/a1.jpg,moth,p1\r\nmoth/käfer.jpg,aphid,p2\r\n",
    "empty rows": "\nfile,label,group\n,,\naphid/a1.jpg,moth,p1\n\nmoth/käfer.jpg,aphid,p2\n,,\n",
    "backslashes": "file,label,group\naphid\\a1.jpg,moth,p1\nmoth\\käfer.jpg,aphid,p2\n",
    "absolute": "file,label,group\n{root}/aphid/a1.jpg,moth,p1\n{root}/moth/käfer.jpg,aphid,p2\n",
    "Windows' absolute": "file,label,group\nC:\\me\\photos\\aphid\\a1.jpg,moth,p1\n"
    "C:\\me\\photos\\moth\\käfer.jpg,aphid,p2\n",
    "the folder's name in front": "file,label,group\nphotos/aphid/a1.jpg,moth,p1\n"
    "./photos/moth/käfer.jpg,aphid,p2\n",
    "names only": "file,label,group\na1.jpg,moth,p1\nkäfer.jpg,aphid,p2\n",
    "no suffixes": "file,label,group\naphid/a1,moth,p1\nkäfer,aphid,p2\n",
    "another case": "FILE,Label,GROUP\nAphid/A1.JPG,moth,p1\nMOTH/KÄFER.JPG,aphid,p2\n",
    "letters composed as Macs do": "file,label,group\naphid/a1.jpg,moth,p1\n"
    "moth/ka\u0308fer.jpg,aphid,p2\n",
}


@pytest.mark.parametrize("text", READ.values(), ids=READ.keys())
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_labels_and_groups_are_read_however_the_table_is_written(photos, text, encoding):
    """The user's labels and groups, not those of the folders; never dropped without a word."""
    (photos / "labels.csv").write_bytes(text.replace("{root}", str(photos)).encode(encoding))
    dataset = load_dataset(photos)
    assert dataset.examples == (
        Example("aphid/a1.jpg", "moth", None, "p1"),
        Example("moth/käfer.jpg", "aphid", None, "p2"),
    )
    assert "labels.csv" in dataset.source


@pytest.mark.parametrize("name", ["LABELS.CSV", "Split.csv", "labels.tsv"])
def test_a_table_is_found_whatever_the_case_of_its_name(photos, name):
    """Cameras and Windows write capitals; a .tsv is a table too."""
    (photos / name).write_text("file\tlabel\naphid/a1.jpg\tmoth\nmoth/käfer.jpg\taphid\n")
    assert [e.label for e in load_dataset(photos).examples] == ["moth", "aphid"]


REFUSED = {
    "no header": ("aphid/a1.jpg,moth\n", "column file and label missing"),
    "no labels": ("file,group\naphid/a1.jpg,p1\n", "column label missing"),
    "two columns of labels": ("file,class,species\na,b,c\n", "class and species could each be"),
    "one column twice": ("file,label,label\na,b,c\n", "label and label could each be label"),
    "an open quotation mark": (
        'file,label\n"aphid/a1.jpg,moth\nmoth/käfer.jpg,aphid\n',
        "quotation mark",
    ),
    "a row that is too long": ("file,label\na,b.jpg,x\n", "line 2: more fields than the header"),
    "a row twice, labels differ": (
        "file,label\naphid/a1.jpg,moth\naphid/a1.jpg,aphid\n",
        "line 3: aphid/a1.jpg is already on line 2 as 'moth', here 'aphid'",
    ),
    "a photo twice, written otherwise": (
        "file,label\naphid/a1.jpg,moth\naphid\\a1.jpg,aphid\n",
        "line 3: .* is aphid/a1.jpg, which is already on line 2",
    ),
    "above the folder": ("file,label\n..\\a1.jpg,x\n", "must be a path inside"),
    "absent files": ("file,label\naphid/zz.jpg,moth\n", "1 of 1 files are not below"),
    "an ambiguous name": ("file,label\nsame.jpg,moth\n", "1 of 1 files are not below"),
    "nothing": ("", "column file and label missing"),
    "no rows": ("file,label\n", "holds no rows"),
    "Latin-1": ("file,label\nmoth/käfer.jpg,aphid\n".encode("latin-1"), "save it as UTF-8"),
    "Excel's own format": (b"PK\x03\x04\x14\x00\x00\x00", "save it as UTF-8"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_table_that_cannot_be_used_is_an_error_and_no_folder_layout(photos, content, message):
    """labels.csv is never passed over in favour of the folders' names."""
    for folder in ("aphid", "moth"):
        Image.new("RGB", (32, 24)).save(photos / folder / "same.jpg")
    content = content if isinstance(content, bytes) else content.encode()
    (photos / "labels.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_dataset(photos)
    assert load_dataset(photos, ignore_csv=True).labels == ("aphid", "moth")


@pytest.mark.parametrize("name", ["labels.xlsx", "split.ods"])
def test_labels_in_a_spreadsheets_own_format_are_an_error(photos, name):
    """It can be meant for nothing else; the cure is to save it as CSV."""
    (photos / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match="save it as"):
        load_dataset(photos)


def titles(dataset, kind):
    """What was noticed of a kind."""
    return [note.title for note in dataset.notes if note.kind == kind]


def test_a_table_and_folders_that_disagree_are_told(photos):
    """The table counts, and the photos it moves are counted and named."""
    (photos / "labels.csv").write_text(
        "file,label\naphid/a1.jpg,moth\nmoth/käfer.jpg,moth\n", encoding="utf-8"
    )
    assert titles(load_dataset(photos), "folder-differs") == []
    text = "file,label\naphid/a1.jpg,moth\nmoth/käfer.jpg,aphid\n"
    (photos / "labels.csv").write_text(text, encoding="utf-8")
    (told,) = titles(load_dataset(photos), "folder-differs")
    assert "2 photos" in told
    assert "aphid/a1.jpg is moth" in told


def test_columns_and_rows_read_otherwise_are_told(photos):
    """Other words for columns, other columns, other spellings of files."""
    text = "Image,Species,day\naphid\\a1.jpg,moth,monday\nmoth/käfer.jpg,aphid,\n"
    (photos / "labels.csv").write_text(text, encoding="utf-8")
    assert titles(load_dataset(photos), "source") == [
        "labels.csv: column Image is file, column Species is label",
        "labels.csv: columns not used: day",
        "labels.csv: names of files written another way in 1 rows: aphid\\a1.jpg is aphid/a1.jpg",
    ]


def test_other_tables_beside_the_used_one_are_told(photos):
    """A corrected labels.csv beside an old split.csv is not lost without a word."""
    row = "file,label\naphid/a1.jpg,{}\n"
    (photos / "split.csv").write_text(row.format("moth"))
    (photos / "labels.csv").write_text(row.format("aphid"))
    (photos / "metadata.csv").write_text("file_name;class\na;b\n")
    (photos / "notes.csv").write_text("when,who\n")
    told = titles(load_dataset(photos), "table-not-used")
    assert told == [
        "labels.csv: a table of labels, which differs from split.csv in the labels of 1 photo, "
        "not used",
        "metadata.csv: a table of labels, not used",
    ]
    (photos / "split.csv").unlink()
    (photos / "labels.csv").unlink()
    assert titles(load_dataset(photos), "table-not-used") == [
        "metadata.csv: a table of labels, not used"
    ]


def test_a_name_with_anything_in_it_survives_the_round_trip(photos, tmp_path):
    """Blanks at the ends, commas, quotation marks, newlines: written and found again."""
    names = [
        " a.jpg",
        "b .jpg ",
        'c"d.jpg',
        "e,f.jpg",
        "g\nh.jpg",
        "i;j.jpg",
        "k\\l.jpg",
        "sep=.jpg",
    ]
    for name in names:
        (photos / name).write_bytes(b"x")
    dataset = Dataset(photos, tuple(Example(name, 'x,"y"', "val", "g;1") for name in names))
    write_csv(dataset, tmp_path / "out.csv")
    assert read_csv(tmp_path / "out.csv") == dataset.examples
    assert load_dataset(photos, tmp_path / "out.csv").examples == dataset.examples


def test_labels_that_look_the_same_are_the_same(photos):
    """Blanks around a label and the way its letters are composed make no second class."""
    text = "file,label\naphid/a1.jpg, käfer \nmoth/käfer.jpg,ka\u0308fer\n"
    (photos / "labels.csv").write_text(text, encoding="utf-8")
    assert load_dataset(photos).labels == ("käfer",)


def odd_findings(folder, rows: list[str]) -> dict[str, str]:
    """The titles of what `check` finds, by kind."""
    names = [f"{i}.png" for i in range(len(rows))]
    for i, name in enumerate(names):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / name)
    lines = [f"{name},{row}" for name, row in zip(names, rows, strict=True)]
    (folder / "labels.csv").write_text("\n".join(("file,label,group", *lines)))
    return {f.kind: f.title for f in odd_names(load_dataset(folder))}


@pytest.mark.parametrize(
    "label",
    ["#REF!", "#N/A", "=A1", "NaN", "null", "n/a", "-", "1-Jan", "Mar-5", "2026-01-05", "?"],
)
def test_labels_that_a_spreadsheet_made_are_told(tmp_path, label):
    """Errors, formulas, empty cells and what is taken for a date."""
    found = odd_findings(tmp_path, [f"{label},", "aphid,", "maybug,", "no pest,", "May,", "7,"])
    assert found["odd-label"].endswith(f"spreadsheet: {label!r}")


def test_numbers_of_one_value_are_almost_the_same_and_others_are_not(tmp_path):
    """`1`, `01` and `1.0` may be one class; `10` is another."""
    found = odd_findings(tmp_path, ["1,", "01,", "1.0,", "10,", "2,"])
    assert found == {"same-name": "classes whose names are almost the same: '01' and '1' and '1.0'"}


def test_groups_that_are_almost_the_same_are_told(tmp_path):
    """Two ways to write one plant would let it stand on both sides of a split."""
    found = odd_findings(tmp_path, ["a,Plant 1", "b,plant_1", "a,2", "b,2.0", "a,3", "b,3"])
    alike = "'Plant 1' and 'plant_1', '2' and '2.0'"
    assert found == {"same-group": f"groups whose names are almost the same: {alike}"}
