"""Connected regions of a mask, in NumPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ChangedRegion(NamedTuple):
    """A connected part of a mask."""

    area: int
    """Cells."""
    box: tuple[int, int, int, int]
    """Left, top, right, bottom in cells; right and bottom lie outside."""


def largest_region(mask: NDArray[np.bool_]) -> ChangedRegion | None:
    """The largest 8-connected region of bool (H, W); None where nothing is set.

    Rows are taken apart into runs; runs that touch one of the row above are joined (union-find),
    so the cost grows with the number of runs, not of cells.
    """
    rows, starts, ends = _runs(mask)
    if not len(rows):
        return None
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    for upper, lower in _touching(rows, starts, ends):
        one, other = root(upper), root(lower)
        parent[max(one, other)] = min(one, other)
    labels = np.array([root(run) for run in range(len(rows))])
    areas = np.bincount(labels, weights=ends - starts)
    best = int(areas.argmax())
    own = labels == best
    box = (starts[own].min(), rows[own].min(), ends[own].max(), rows[own].max() + 1)
    left, top, right, bottom = (int(side) for side in box)
    return ChangedRegion(int(areas[best]), (left, top, right, bottom))


Ints = NDArray[np.int64]


def _runs(mask: NDArray[np.bool_]) -> tuple[Ints, Ints, Ints]:
    """Row, first column and the column after the last of each run of set cells."""
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask
    edges = np.diff(padded, axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    return rows, starts, ends


def _touching(rows: Ints, starts: Ints, ends: Ints) -> list[tuple[int, int]]:
    """Pairs of runs in neighbouring rows that share a column, or touch at a corner."""
    width = int(ends.max()) + 2
    # Along one line that holds a row after the other, a binary search finds the runs above.
    first = np.searchsorted(rows * width + ends, (rows - 1) * width + starts, "left")
    last = np.searchsorted(rows * width + starts, (rows - 1) * width + ends, "right")
    return [
        (upper, lower)
        for lower, (low, high) in enumerate(zip(first.tolist(), last.tolist(), strict=True))
        for upper in range(low, high)
    ]
