"""Triggers: which frames go on to the model. Each is a file of its own and a line in a table here.

Every configured condition must hold. Time rules (`windows`, `duty`) let the camera rest; the others
look at each frame. A picture asked for by request is taken at once and passes every trigger.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.cameras.triggers.gate import FrameTrigger, Gate
    from edge.cameras.triggers.windows import Schedule
    from edge.config import Config
    from edge.messages.sighting import Location
    from edge.system.clock import Clock
    from edge.system.counters import Counters

TRIGGERS = {"motion": "edge.cameras.triggers.motion:open_motion"}
"""Settings of ``[trigger]`` that look at frames, and what makes their trigger, cheapest first."""


def open_gate(
    config: Config, clock: Clock, counters: Counters, place: Callable[[], Location | None]
) -> Gate:
    """Put the configured triggers together; `place` gives where the camera is now, if known."""
    from edge.cameras.triggers.duty import Duty
    from edge.cameras.triggers.gate import Gate
    from edge.cameras.triggers.wake import Sleep
    from edge.cameras.triggers.windows import Windows

    trigger = config.trigger
    schedule = open_schedule(config, place)
    triggers: list[FrameTrigger] = []
    if schedule is not None and _replays_past(config):
        triggers.append(Windows(schedule))
        schedule = None  # photographs of another day are not waited for
    for name, target in TRIGGERS.items():
        if getattr(trigger, name) is not None:
            module, _, attribute = target.partition(":")
            make: Any = getattr(import_module(module), attribute)
            triggers.append(make(config, counters))
    return Gate(
        triggers, Duty(clock, schedule, trigger.duty), Sleep(trigger.wake_file, clock, counters)
    )


def open_schedule(config: Config, place: Callable[[], Location | None]) -> Schedule | None:
    """The schedule of `trigger.windows`; None without any."""
    from zoneinfo import ZoneInfo

    from edge.cameras.triggers.windows import Schedule

    trigger = config.trigger
    if not trigger.windows:
        return None

    def here() -> tuple[float, float] | None:
        found = place()
        return (found.lat, found.lon) if found else None

    zone = ZoneInfo(trigger.time_zone) if trigger.time_zone else None
    return Schedule(trigger.windows, zone, here)


def _replays_past(config: Config) -> bool:
    """Whether frames carry times of their own."""
    return getattr(config.camera, "time", "now") == "exif"
