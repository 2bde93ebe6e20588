"""Versions of models: which of two is newer."""

from __future__ import annotations

import pytest

from edge.model.bundle.versions import newer


@pytest.mark.parametrize(
    ("older", "younger"),
    [
        ("1", "2"),
        ("1.9", "1.10"),
        ("1.0-dev", "1.0-alpha"),
        ("1.0-alpha", "1.0-alpha.1"),
        ("1.0-alpha.1", "1.0-alpha.beta"),
        ("1.0-rc.2", "1.0-rc.11"),
        ("1.0rc2", "1.0"),
        ("1.0", "1.0.post1"),
        ("1.0.post1", "1.0.1"),
        ("nightly", "0.1"),
        ("2026.06.30", "2026.7.1"),
        ("v1.9", "1.10"),
        ("1.9", "V1.10-rc1"),
        ("1.0-1", "1.0"),
        ("1.0-rc.9", "1.0-rc.a"),
    ],
)
def test_versions_have_an_order(older, younger):
    """Semantic Versioning's order, for any count of numbers."""
    assert newer(younger, than=older)
    assert not newer(older, than=younger)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1.0.0"), ("1.0+a", "1.0+b"), ("1.0", "1.0"), ("v1.0", "1"), ("1.0-RC1", "1.0-rc1")],
)
def test_equal_versions_are_not_newer(one, other):
    """Missing numbers are 0, and what stands behind a plus does not count."""
    assert not newer(one, than=other)
    assert not newer(other, than=one)
