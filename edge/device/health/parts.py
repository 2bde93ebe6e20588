"""What health says of the machine, the program and the queue: read from the kernel's own files
where they tell it; what a machine lacks is null.
"""

from __future__ import annotations

import os
from pathlib import Path

from edge.config import Config
from edge.errors import OutboxError
from edge.messages.health import (
    BrokerHealth,
    ClockHealth,
    Frames,
    OutboxHealth,
    RequestHealth,
)
from edge.outbox.dead_letters import DeadLetters
from edge.outbox.outbox import Depth, Outbox
from edge.outbox.rows import Kind
from edge.system.board import read, temperature, throttled
from edge.system.clock import Clock
from edge.system.counters import Counters
from edge.system.identity import boot_id, device_id
from edge.system.link import link


class DeviceHealth:
    """Health of the machine, and what is counted since the program started."""

    def __init__(
        self, config: Config, counters: Counters, clock: Clock, root: Path = Path("/")
    ) -> None:
        self._config, self._counters, self._clock, self._root = config, counters, clock, root
        self._boot, self._started = boot_id(root), clock.monotonic()

    def part(self) -> dict[str, object]:
        """Measure."""
        count, clock, root = self._counters, self._clock, self._root
        return {
            "device": device_id(self._config),
            "boot": self._boot,
            "time": clock.now(),
            "uptime_seconds": round(clock.monotonic() - self._started, 3),
            "clock": clock.quality(),
            "boot_seconds": round(clock.since_boot(), 3),
            "clock_health": self._clock_health(),
            "temperature_celsius": temperature(root),
            "throttled": throttled(root),
            "memory_available_bytes": read(root / "proc/meminfo", _available),
            "process_bytes": read(
                root / "proc/self/statm",
                lambda text: int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE"),
            ),
            "disk_free_bytes": _free(self._config.outbox.path.parent),
            "link": link(root),
            "frames": Frames(
                **{name: count[f"frames_{name}"] for name in Frames.__struct_fields__}
            ),
            "broker": BrokerHealth(
                connects=count["connects"],
                failures=count["broker_failures"],
                denied=count["denied"],
                delivered=count["delivered"],
            ),
            "errors": count.errors(),
            "requests": RequestHealth(
                received=count["requests"],
                carried_out=count["requests_carried_out"],
                dropped=count["requests_dropped"],
                refused=count["requests_refused"],
            ),
            "asleep": count.noted("asleep"),
        }

    def _clock_health(self) -> ClockHealth:
        clock, errors = self._clock, self._clock.errors()
        return ClockHealth(
            estimated_error_seconds=errors.estimated,
            max_error_seconds=errors.largest,
            steps=clock.steps,
            last_step_seconds=clock.last_step_seconds,
            retimed=self._counters["retimed"],
        )


class QueueHealth:
    """Health of the queue on disk, and of what was set aside from it."""

    def __init__(self, outbox: Outbox, letters: DeadLetters, clock: Clock) -> None:
        self._outbox, self._letters, self._clock = outbox, letters, clock

    def part(self) -> dict[str, object]:
        """Measure."""
        outbox, held = self._outbox, self._letters.held()
        depth, oldest_seconds = self._waiting()
        return {
            "outbox": OutboxHealth(
                waiting=depth.waiting,
                bytes=depth.bytes,
                oldest_seconds=oldest_seconds,
                sightings=outbox.appended,
                dropped_images=outbox.dropped[Kind.IMAGE],
                dropped_health=outbox.dropped[Kind.HEALTH],
                dropped_sightings=outbox.dropped[Kind.SIGHTING],
                salvaged=outbox.salvaged,
                lost=outbox.lost,
                dead_letters=len(held),
                dead_letter_bytes=sum(letter.bytes for letter in held),
                dropped_dead_letters=self._letters.dropped,
            )
        }

    def _waiting(self) -> tuple[Depth, float | None]:
        """What waits, and the age of the oldest by its time; None: nothing waits."""
        try:
            depth, page = self._outbox.depth(), self._outbox.page(limit=1)
        except OutboxError:
            return Depth(0, 0), None
        now = self._clock.now().timestamp()
        return depth, round(max(0.0, now - page[0].time_ms / 1000), 3) if page else None


def _available(text: str) -> int:
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no MemAvailable")


def _free(folder: Path) -> int | None:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize
