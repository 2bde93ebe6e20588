"""What one frame says: a verdict for each tile, tiles of the same verdict joined. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from edge.messages.base import Reason
from edge.messages.sighting import Finding, Region
from edge.model.classifier import Classification, Tile
from edge.model.tiles import around, join, touch


class Verdict(msgspec.Struct, frozen=True):
    """What one frame, or a tile of it, says."""

    label: str | None
    reason: Reason | None


def verdict(
    found: Classification, thresholds: Mapping[str, float], background: frozenset[str]
) -> Verdict:
    """Judge one frame or tile; `thresholds` replace the model's, `background` is no sighting."""
    top = found.alternatives[0].label if found.alternatives else found.label
    if found.reason == "unknown" or top is None:
        return Verdict(None, "unknown")
    own = thresholds.get(top)
    enough = found.reason is None if own is None else found.confidence >= own
    if not enough:
        return Verdict(None, "below-threshold")
    return Verdict(None, "background") if top in background else Verdict(top, None)


def findings(
    found: Classification, thresholds: Mapping[str, float], background: frozenset[str]
) -> tuple[Finding, ...]:
    """What a frame shows, surest first, labels before *unknown*; never empty.

    Every class that some tile is sure of is a finding. *Unknown* is one where tiles say so that
    touch no tile with a label: beside an insect lies a piece of it, not something new. Tiles that
    are below their threshold, or background, say nothing; where no tile says anything, the surest
    of those below the threshold, else of the background, is the one finding.
    """
    if not found.tiles:
        judged = verdict(found, thresholds, background)
        return (
            Finding(
                label=judged.label,
                reason=judged.reason,
                confidence=found.confidence,
                alternatives=found.alternatives,
            ),
        )
    groups: dict[Verdict, list[Tile]] = {}
    for tile in found.tiles:
        groups.setdefault(verdict(tile.found, thresholds, background), []).append(tile)
    said = {judged: tiles for judged, tiles in groups.items() if judged.label is not None}
    known = [tile.box for tiles in said.values() for tile in tiles]
    strange = [
        tile
        for tile in groups.get(Verdict(None, "unknown"), ())
        if not any(touch(tile.box, box) for box in known)
    ]
    if strange:
        said[Verdict(None, "unknown")] = strange
    if not said:
        judged = min(groups, key=lambda one: one.reason == "background")
        best = max(groups[judged], key=lambda tile: tile.found.confidence)
        said = {judged: [best]}
    all_of_them = [_finding(judged, tiles) for judged, tiles in said.items()]
    return tuple(sorted(all_of_them, key=lambda one: (one.label is None, -one.confidence)))


def _finding(judged: Verdict, tiles: list[Tile]) -> Finding:
    """Join tiles of the same verdict."""
    regions = []
    for group in join([tile.box for tile in tiles]):
        members = [tiles[i] for i in group]
        regions.append(
            Region(
                box=around(tile.box for tile in members),
                confidence=max(tile.found.confidence for tile in members),
                tiles=len(members),
            )
        )
    regions.sort(key=lambda region: -region.confidence)
    best = max(tiles, key=lambda tile: tile.found.confidence).found
    return Finding(
        label=judged.label,
        reason=judged.reason,
        confidence=best.confidence,
        alternatives=best.alternatives,
        regions=tuple(regions),
    )
