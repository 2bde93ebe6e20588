"""`quantize inspect` on the terminal."""

from __future__ import annotations

import io
import re

import msgspec
import tiny
from rich.console import Console

from quantize.commands.inspect import labels


def test_names_of_classes_are_never_cut_short_on_a_narrow_terminal():
    """Two that begin alike would look the same; 80 columns hold every heading."""
    manifest = tiny.manifest()
    long = msgspec.structs.replace(
        manifest.labels[0], id="caterpillar_of_1", name="Caterpillar of 1"
    )
    stream = io.StringIO()
    shown = labels(msgspec.structs.replace(manifest, labels=(long, *manifest.labels[1:])))
    Console(file=stream, width=60).print(shown)
    assert "…" not in stream.getvalue()
    assert "".join(re.findall(r"^│ [0 ] │ (\w+)", stream.getvalue(), re.M)) == "caterpillar_of_1"
