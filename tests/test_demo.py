"""The demo's field: a real camera program, a broker that goes away, and what arrives."""

from __future__ import annotations

import csv

import pytest
from PIL import Image

pytest.importorskip("amqtt")
pytest.importorskip("rich")

import tiny
from devices import COLOURS, photo
from rich.console import Console

import demo.field
from demo.__main__ import begin_anew
from demo.dashboard import Dashboard
from demo.field import Field, prepare
from demo.sheet import draw_sheet


@pytest.fixture
def out(tmp_path):
    """A demo folder as it is when the bundle has been packed: photos, a split, secrets."""
    rows = []
    for number in range(40):
        label = list(COLOURS)[number % 3]
        file = tmp_path / "photos" / label / f"{number:02d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(photo(label, seed=number))
        rows.append((f"{label}/{file.name}", label, "train" if number < 20 else "test", ""))
    (tmp_path / "photos" / "unknown").mkdir()
    (tmp_path / "photos" / "unknown" / "snail.jpg").write_bytes(photo("leaf"))
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "split.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "split", "group"), *rows])
    return tmp_path


def test_nothing_is_lost_while_the_broker_is_away(out, monkeypatch):
    """Every held-out picture arrives once, in spite of the outage, and gets onto the sheet."""
    monkeypatch.setattr(demo.field, "OUTAGE_SECONDS", 1.5)
    monkeypatch.setattr(demo.field, "SETTLE_SECONDS", 0.5)
    bundle = tiny.write(out / "tiny-1.wtr")
    setup = prepare(out, bundle, rate=10.0)
    assert sorted(set(setup.truth.values())) == [*sorted(COLOURS), "unknown"]
    assert len(setup.truth) == 21  # the test split and one secret, nothing of the training split

    field = Field(setup, Console(quiet=True))
    field.run()

    assert (len(field.dashboard.sightings), field.missing()) == (21, 0)
    assert field.dashboard.missing() == 0
    assert field.dashboard.contradictions == []
    shown = {sighting["frame"]["source"] for sighting in field.dashboard.sightings.values()}
    assert len(shown) == 21
    assert "it closed the connection" in (out / "wheatear.log").read_text()
    sheet = draw_sheet(field.truth, field.dashboard.sightings.values(), out / "sheet.jpg")
    with Image.open(sheet) as picture:
        assert picture.width > 1000


def test_only_what_a_demo_made_is_removed(tmp_path):
    """A folder of a person's own stays as it is, also one that has photos in it."""
    own = tmp_path / "photos" / "aphid.jpg"
    own.parent.mkdir()
    own.write_bytes(b"mine")
    with pytest.raises(SystemExit, match="holds files that no demo made"):
        begin_anew(tmp_path)
    with pytest.raises(SystemExit, match="is not a folder"):
        begin_anew(own)
    assert own.read_bytes() == b"mine"
    out = tmp_path / "out"
    begin_anew(out)
    (out / "photos").mkdir()
    begin_anew(out)
    assert not (out / "photos").exists()


def test_the_dashboard_counts_each_id_once():
    """A second delivery is no second sighting, also when it says that it is late."""
    dashboard = Dashboard(0, "cam")
    one = {"seq": 1, "id": "a", "label": "aphid", "historical": False}
    for sighting in (one, one | {"historical": True}, one | {"seq": 3, "id": "c"}):
        dashboard.take(sighting)
    assert (len(dashboard.sightings), dashboard.redelivered, dashboard.missing()) == (2, 1, 1)
    assert dashboard.contradictions == []


def test_the_dashboard_tells_what_no_device_may_send():
    """Two events of one number, one event with two numbers or two contents: each is named."""
    dashboard = Dashboard(0, "cam")
    one = {"seq": 1, "id": "a", "label": "aphid", "historical": False}
    for sighting in (one, one | {"id": "b"}, one | {"seq": 2}, one | {"label": "beetle"}):
        dashboard.take(sighting)
    assert dashboard.redelivered == 0
    assert dashboard.contradictions == [
        "seq 1 is a and b",
        "a is seq 1 and seq 2",
        "a came with another content",
    ]
