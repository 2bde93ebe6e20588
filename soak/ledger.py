"""The application at the other end: takes each sighting once, by id, and checks what it got."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

Expectation = Callable[[dict[str, Any]], datetime]
"""What ``time`` a sighting must bear."""
Lateness = Callable[[dict[str, Any]], bool | None]
"""Whether a sighting must say that it is late; None: it may."""

_EXAMPLES = 5


class Ledger:
    """A subscriber's books. De-duplicates by id, as docs/topics.md asks of it.

    Numbers must rise by one, but for those that a sighting says were left out before it; a number
    must never come with two ids; in a run of the device, frames must follow one another
    (``first`` starts a run), and times must not go back, or be exactly as expected.
    """

    def __init__(
        self,
        expected: Expectation | None = None,
        follows: bool = True,
        late: Lateness = lambda _: None,
    ) -> None:
        self._expected, self._follows, self._late = expected, follows, late
        self._ids: set[int] = set()
        self._frame = -1
        self._time: datetime | None = None
        self.next_seq = 1
        """One more than the highest number that came."""
        self.taken = 0
        """Sightings the application saw: each id once."""
        self.again = 0
        """Deliveries that the id gave away as a repetition."""
        self.pictures = 0
        """Pictures that came for a sighting seen before, each once."""
        self.late = 0
        """Sightings that say of themselves that they were sent late."""
        self.missing = self.disordered = self.wrong = 0
        self.problems: list[str] = []

    def take(self, topic: str, payload: bytes) -> None:
        """Enter one message."""
        if topic.endswith("/image"):
            self._picture(topic, payload)
        elif topic.endswith("/sighting"):
            self._sighting(json.loads(payload))

    def _sighting(self, sighting: dict[str, Any]) -> None:
        key = int(sighting["id"], 16) << 1
        if key in self._ids:
            self.again += 1
            return
        self._ids.add(key)
        self.taken += 1
        self.late += sighting["historical"]
        seq = sighting["seq"]
        if seq < self.next_seq:
            self.disordered += 1
            self._note(f"number {seq} came with a new id after number {self.next_seq - 1}")
        elif seq - sighting.get("skipped", 0) > self.next_seq:
            last = seq - sighting.get("skipped", 0) - 1
            self.missing += last + 1 - self.next_seq
            self._note(f"numbers {self.next_seq} to {last} are missing")
        self.next_seq = max(self.next_seq, seq + 1)
        self._check(sighting)

    def _check(self, sighting: dict[str, Any]) -> None:
        time = datetime.fromisoformat(sighting["time"])
        if self._expected:
            if time != self._expected(sighting):
                self._wrong(f"number {sighting['seq']} says {time}, not when it was taken")
        elif self._time and time < self._time:
            self._wrong(f"number {sighting['seq']} is older than the one before")
        self._time = time
        if self._late(sighting) not in (None, said := sighting["historical"]):
            self._wrong(f"number {sighting['seq']} says historical: {said}, and should not")
        if self._follows:
            frame = int(sighting["frame"]["source"].partition("-")[0])
            if frame not in (0, self._frame + 1):  # a run begins, and a replay goes on, at 0
                self._wrong(f"frame {frame} came after frame {self._frame}")
            self._frame = frame

    def _picture(self, topic: str, payload: bytes) -> None:
        key = int(topic.split("/")[-2], 16) << 1
        if key not in self._ids:
            self._wrong(f"{topic} came before its sighting")
        elif key + 1 in self._ids:
            self.again += 1
        else:
            self._ids.add(key + 1)
            self.pictures += 1
            if not payload.startswith(b"\xff\xd8") or not payload.endswith(b"\xff\xd9"):
                self._wrong(f"{topic} is no whole JPEG")

    def _wrong(self, what: str) -> None:
        self.wrong += 1
        self._note(what)

    def _note(self, what: str) -> None:
        if len(self.problems) < _EXAMPLES:
            self.problems.append(what)

    def counts(self) -> dict[str, int]:
        """What was counted, for a :class:`soak.scenario.Round`."""
        return {
            "sightings": self.taken,
            "missing": self.missing,
            "out of order": self.disordered,
            "wrong": self.wrong,
            "came again": self.again,
        }

    def judge(self, given_out: int) -> tuple[str, ...]:
        """Name what is wrong, knowing the last number that the device gave out."""
        problems = list(self.problems)
        if self.next_seq <= given_out:
            self.missing += given_out + 1 - self.next_seq
            problems.append(f"numbers {self.next_seq} to {given_out} never came")
        return tuple(problems)
