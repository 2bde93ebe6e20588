"""Pages with names of classes as people give them: long, of any script, with HTML in them."""

from __future__ import annotations

import re
from itertools import combinations

import pytest
from jinja2 import UndefinedError
from matplotlib.text import Text
from scenes import scenes

from quantize.parity.compare import ClassDrop
from quantize.parity.plots import class_drops
from training.data.check import check
from training.data.report import render
from training.data.sources import load_dataset
from training.pages import page as pages
from training.pages.figures import name_points, new_figure, shortened, svg
from training.pages.page import TREE
from training.pages.page import render as fill
from training.report.page import confusion_rows

LONG = "Western flower thrips (Frankliniella occidentalis), larva"
WIDE = "西花蓟马幼虫在温室豆叶上的照片分类名称非常长的一个例子"


def test_long_names_are_shortened():
    """Chinese letters count twice; short names stay."""
    assert shortened("aphid") == "aphid"
    assert shortened(LONG) == "Western flower thrips (Frankliniel…"
    assert shortened(WIDE).endswith("…")
    assert len(shortened(WIDE)) < len(shortened(LONG))


def test_a_drawing_is_the_same_bytes_each_time_and_tells_what_a_pointer_rests_on():
    """No date, no random id; the tip's markup is text."""

    def drawing():
        figure, axes = new_figure(3, 3)
        axes.plot([0, 1], [0, 1], gid="line-a")
        axes.set_title("<b>")
        return svg(figure, 'a "line" & co', {"line-a": "<b> & co"})

    assert drawing() == drawing()
    assert drawing().startswith("<svg")
    assert '<g id="line-a"><title>&lt;b&gt; &amp; co</title>' in drawing()
    assert 'role="img" aria-label="a &quot;line&quot; &amp; co"' in drawing()
    assert 'style="min-width: 130pt"' in drawing()
    assert "<b>" not in drawing()
    assert "dc:date" not in drawing()


def test_names_of_points_that_lie_together_are_written_apart():
    """None over another name, also at the same place."""
    figure, axes = new_figure(5, 4)
    axes.set(xlim=(0, 2), ylim=(0, 2))
    name_points(axes, [(f"point number {n}", 1.0 + n // 4, 1.0) for n in range(8)])
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert len(boxes) == 8
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    sizes = figure.get_size_inches() * figure.dpi
    assert all(box.x0 > 0 and box.x1 < sizes[0] for box in boxes)


def test_every_template_escapes_and_needs_nothing_beside_it(tmp_path, monkeypatch):
    """Each fills the one frame with the one style sheet; no name is left out silently."""
    templates = [*TREE.glob("training/**/*.html"), *TREE.glob("quantize/**/*.html")]
    assert len(templates) == 6
    for path in templates:
        text = path.read_text(encoding="utf-8")
        assert "<style" not in text or path.name == "base.html", path
        assert not re.search(r"\|\s*safe|autoescape|https?://|<link|<script", text), path
    monkeypatch.setattr(pages, "TREE", tmp_path)
    monkeypatch.setattr(pages, "environment", pages.environment.__wrapped__)
    (tmp_path / "one.html").write_text("{{ name }} {{ share | percent(1) }}\n", encoding="utf-8")
    assert fill("one.html", name="<i>'\"&", share=0.5) == "&lt;i&gt;&#39;&#34;&amp; 50.0%\n"
    with pytest.raises(UndefinedError, match="'name' is undefined"):
        fill("one.html", share=0.5)


def test_the_table_of_what_is_taken_for_what_is_shaded_by_share_of_the_row():
    """All of a row is darkest, none is no colour; a class without photos is an empty row."""
    rows = confusion_rows(((1, 3), (0, 0)), ("<b>", LONG))
    assert [row["n"] for row in rows] == [4, 0]
    assert [cell["kind"] for cell in rows[0]["cells"]] == ["right", "wrong deep"]
    assert [round(cell["shade"], 2) for cell in rows[0]["cells"]] == [0.42, 0.83]
    assert [cell["n"] for cell in rows[1]["cells"]] == [0, 0]


def test_names_in_the_parity_plot_are_text_of_any_script():
    """Dollar signs are no formula, letters without a font here are no warning."""
    names = ("$a$ b_c", "$", WIDE, LONG)
    figures = {name: 0.5 for name in ClassDrop.__annotations__ if name not in ("label", "n")}
    drawing = class_drops(tuple(ClassDrop(label=name, n=3, **figures) for name in names))
    assert "$a$ b_c  (3)" in drawing
    assert shortened(WIDE, 48) in drawing


def test_the_page_of_a_check_escapes_names_and_lists_few_of_many(tmp_path):
    """Markup in a class is text; sixty small classes are not all written into one sentence."""
    for i in range(15):
        scenes(tmp_path / f"<i>{i}", 1, 10 * i)
    report = check(load_dataset(tmp_path))
    page = render(report)
    assert "<i>" not in page
    assert "&lt;i&gt;14" in page
    (few,) = (f.title for f in report.findings if f.kind == "few-photos")
    assert few.endswith("and 3 more")
