"""A clock that jumps forwards and back, by seconds and by years, while sightings wait and go out.

Numbers, not times, are the order: whatever the clock said when a frame was taken stays its time.
(Times that are corrected once the clock is known are another thing: tests/test_retime.py.)
"""

from __future__ import annotations

from pathlib import Path

from soak import week
from soak.scenario import Options, Round, chance

FRAMES = 2_000
_LARGEST = (1.0, 600.0, 86_400.0, 30 * 86_400.0, 10 * 365 * 86_400.0)
"""Seconds."""


def rounds(options: Options) -> int:
    """As many as asked for."""
    return options.clocks


def play(number: int, folder: Path, options: Options) -> Round:
    """Let a few hours pass with ten jumps."""
    random = chance(options, "clock", number)
    jumps: week.Jumps = {}
    for frame in random.sample(range(FRAMES), 10):
        largest = random.choice(_LARGEST)
        jumps[str(frame)] = round(random.uniform(-largest, largest), 3)
    found = week.live(folder, FRAMES, jumps)
    return Round(counts={"jumps": len(jumps), **found.counts}, problems=found.problems)
