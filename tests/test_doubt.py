"""Which pictures are worth learning from."""

from __future__ import annotations

import random

import msgspec
import numpy as np
from pictures import ANY, frame
from results import APHID, MITE, found

from edge.config import Inbox as InboxConfig
from edge.feedback.selection import Selector


def kept(config: InboxConfig, seen, step: float = 1.0, draw=lambda: 1.0):
    """Show frames one after the other; give (frame number, why) of those picked."""
    doubts, picked = Selector(config, draw), []
    for number, one in enumerate(seen):
        doubt = doubts.see(frame(number * step), one, number * step)
        if doubt:
            picked.append((int(float(doubt.frame.source) / step), doubt.kept))
    return picked


def test_unknown_and_unsure_frames_are_picked_and_sure_ones_are_not():
    """The bundle's own rules count, and the device's confidence."""
    seen = [
        APHID,
        found("aphid", 0.4, "unknown"),
        found("aphid", 0.7, "below-threshold"),
        found("aphid", 0.59),
        found("aphid", 0.6),
    ]
    assert kept(ANY, seen) == [(1, "unknown"), (2, "low-confidence"), (3, "low-confidence")]


def test_a_frame_unlike_both_neighbours_is_picked_itself():
    """Aphid, mite, aphid within a few seconds: the mite is the doubtful one."""
    assert kept(ANY, [APHID, APHID, MITE, APHID, APHID]) == [(2, "disagreement")]
    assert kept(ANY, [APHID, APHID, MITE, MITE]) == []
    assert kept(ANY, [APHID, MITE, APHID], step=60.0) == []
    assert kept(ANY, [APHID, MITE, APHID], step=-60.0) == []  # the clock is set back each time


def test_one_frame_is_kept_once():
    """An unsure frame that its neighbours contradict too is one picture."""
    assert kept(ANY, [APHID, found("mite", 0.5), APHID]) == [(1, "low-confidence")]


def test_pictures_of_one_reason_come_no_closer_than_told():
    """A windy day of doubt gives one picture every ten minutes, and other reasons their own."""
    config = msgspec.structs.replace(ANY, spacing_seconds=600.0)
    unsure, strange = found("aphid", 0.5), found("aphid", 0.5, "unknown")
    assert kept(config, [unsure] * 1300) == [(n, "low-confidence") for n in (0, 600, 1200)]
    assert kept(config, [unsure, strange, unsure]) == [(0, "low-confidence"), (1, "unknown")]


def test_the_random_share_takes_doubtful_frames_too():
    """It is drawn before anything else is looked at, so that it stays a fair sample."""
    config = msgspec.structs.replace(ANY, random_share=0.02)
    seen = [found("aphid", 0.4, "unknown") if n % 2 else APHID for n in range(20_000)]
    picked = [n for n, why in kept(config, seen, draw=random.Random(1).random) if why == "random"]
    assert 330 < len(picked) < 470
    assert 0.4 < np.mean([n % 2 for n in picked]) < 0.6
