"""Mutated bundles: refused by one of the bundle errors, or read as what they were."""

from __future__ import annotations

import pytest
import tiny

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import BundleError
from edge.model.bundle.bundle import read_bundle


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A good bundle and a place to write mutations to."""
    path = tiny.write(tmp_path_factory.mktemp("fuzz") / "b.wtr")
    return path.read_bytes(), path.with_name("mutated.wtr"), read_bundle(path)


FUZZ = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(st.data())
def test_changed_bytes_never_give_another_bundle(good, data):
    """Flipped bytes anywhere are refused, or hit a field that means nothing."""
    content, path, original = good
    changed = bytearray(content)
    # Headers matter most: half of the hits go to the directory at the end.
    spot = st.one_of(
        st.integers(0, len(content) - 1), st.integers(len(content) - 400, len(content) - 1)
    )
    for at, value in data.draw(
        st.lists(st.tuples(spot, st.integers(0, 255)), min_size=1, max_size=4)
    ):
        changed[at] = value
    path.write_bytes(changed)
    try:
        found = read_bundle(path)
    except BundleError:
        return
    assert (found.manifest, found.model, found.goldens) == (
        original.manifest,
        original.model,
        original.goldens,
    )


@FUZZ
@given(cut=st.tuples(st.integers(0, 11_000), st.integers(0, 11_000)), extra=st.binary(max_size=30))
def test_cut_and_spliced_bytes_are_refused(good, cut, extra):
    """A piece taken out or put in never passes, nor raises anything else."""
    content, path, _ = good
    start, end = sorted(cut)
    changed = content[:start] + extra + content[end:]
    path.write_bytes(changed)
    if changed == content:
        return
    with pytest.raises(BundleError):
        read_bundle(path)
