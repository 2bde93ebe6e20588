"""Pages with names of classes as people give them: long, of any script, with HTML in them."""

from __future__ import annotations

import re

from scenes import scenes

from quantize.parity.compare import ClassDrop
from quantize.parity.plots import class_drops
from training.data import load_dataset
from training.data.check import check
from training.data.report import render
from training.report.svg import heat_map, shortened

LONG = "Western flower thrips (Frankliniella occidentalis), larva"
WIDE = "西花蓟马幼虫在温室豆叶上的照片分类名称非常长的一个例子"


def test_long_names_are_cut_in_the_drawing_and_whole_in_its_tip():
    """Chinese letters count twice; short names stay."""
    assert shortened("aphid") == "aphid"
    assert shortened(LONG) == "Western flower thrips (Frankliniel…"
    assert shortened(WIDE).endswith("…")
    assert len(shortened(WIDE)) < len(shortened(LONG))
    drawing = heat_map([[1, 2], [0, 3]], ["<b>", LONG])
    assert f"2 of 3 &lt;b&gt; were called {LONG}" in drawing
    assert "<b>" not in drawing


def test_names_in_a_drawing_stay_inside_it():
    """Rotated or not, whatever the number of classes."""
    for names in (["a", "b"], [LONG, WIDE], [f"class {i} {LONG}" for i in range(60)]):
        drawing = heat_map([[1] * len(names)] * len(names), names)
        width = float(re.search(r'width="(\d+)"', drawing)[1])
        wide = max(len(shortened(name)) for name in names)
        places = [float(x) for x in re.findall(r'<text x="([\d.]+)"', drawing)]
        first = min(
            float(x) for x in re.findall(r'x="([\d.]+)" y="[^"]*" text-anchor="end"', drawing)
        )
        assert first >= 6 * wide
        assert max(places) + 0.7 * 6 * wide <= width


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
