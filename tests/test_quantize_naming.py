"""Name and version of a bundle, from its file's name and from options."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import QuantizeError
from quantize.bundle.naming import identity


@pytest.mark.parametrize(
    ("file", "name", "version"),
    [
        ("pests-1.1.0", "pests", "1.1.0"),
        ("pests", "pests", "1.0.0"),
        ("Pests of jute-1.1", "pests-of-jute", "1.1"),
        ("bean-leaf-v2-1.10.0", "bean-leaf-v2", "1.10.0"),
        ("mobilenet-0.25-2.0", "mobilenet-0.25", "2.0"),
        ("camera-2", "camera-2", "1.0.0"),
        ("pests-v1.2.0", "pests", "1.2.0"),
        ("pests-1.1.0-rc.1", "pests", "1.1.0-rc.1"),
        ("pests-1.1.0rc1", "pests", "1.1.0rc1"),
        ("pests-1.1.0-rc-1", "pests", "1.1.0-rc-1"),
        ("pests-1.1.0+2026.6", "pests", "1.1.0+2026.6"),
        ("pests-2026.06.30", "pests", "2026.06.30"),
        ("pests.v3", "pests.v3", "1.0.0"),
        ("a" * 70 + "-1.0", "a" * 64, "1.0"),
    ],
)
def test_a_files_name_says_name_and_version(file, name, version):
    """NAME-VERSION.wtr; a version has a dot in it, so that names may end in numbers."""
    assert identity(Path(f"out/{file}.wtr")) == (name, version)


def test_options_say_what_a_files_name_does_not():
    """And may repeat it, in other words too."""
    assert identity(Path("model.wtr"), "pests", "2.0") == ("pests", "2.0")
    assert identity(Path("model.wtr"), version="2.0") == ("model", "2.0")
    assert identity(Path("pests-1.1.0.wtr"), "pests", "1.1.0") == ("pests", "1.1.0")
    assert identity(Path("pests-1.1.0.wtr"), version="1.1") == ("pests", "1.1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "bugs"}, "--name bugs contradicts --out pests-1.1.0.wtr, which says pests"),
        ({"version": "1.2.0"}, r"--version 1\.2\.0 contradicts --out .* which says 1\.1\.0"),
        ({"version": "1.1.0-rc1"}, "contradicts"),
    ],
)
def test_options_that_contradict_the_files_name_are_refused(options, said):
    """One of both is wrong, and nobody can tell which."""
    with pytest.raises(QuantizeError, match=said):
        identity(Path("pests-1.1.0.wtr"), **options)


@pytest.mark.parametrize(
    ("file", "options", "said"),
    [
        ("---", {}, "gives no name"),
        ("model", {"name": "Pests!"}, "small letters"),
        ("model", {"version": "1 0"}, "letters, digits"),
    ],
)
def test_what_no_manifest_takes_is_refused_at_once(file, options, said):
    """Before hours of work."""
    with pytest.raises(QuantizeError, match=said):
        identity(Path(f"{file}.wtr"), **options)
