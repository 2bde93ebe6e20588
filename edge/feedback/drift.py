"""Has what the camera sees become unlike the photos the model was judged on?

Histograms of confidence, brightness and sharpness forget exponentially, and are compared with
those that the bundle carries of its validation photos. Labels are counted too, but do not alarm:
which classes a field holds is what the camera is there to find out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edge.errors import RecordError, ShortageError
from edge.messages.feedback import DriftPart, DriftReport
from edge.model import picture_statistics as d
from edge.model.image.preprocessing import fit
from edge.system.background import Background
from edge.system.counters import Counters, Episode
from edge.system.record_file import RecordFile

if TYPE_CHECKING:
    from edge.cameras import Frame
    from edge.config import Drift as DriftConfig
    from edge.model.bundle.manifest import Reference
    from edge.model.classifier import Classification
    from edge.model.image.preprocessing import InputSpec
    from edge.sightings.visits import Event
    from edge.system.clock import Clock

log = logging.getLogger(__name__)

PIXELS_EVERY = 16
"""Brightness and sharpness are measured on every 16th frame: neighbours look alike, and frames that
have to be made smaller for it cost as much as a tenth of an inference each."""
ALARMING = ("confidence", "brightness", "sharpness")
_SAVE_SECONDS = 3600.0


class Fading:
    """A histogram that forgets: after `half_life` additions, one counts half."""

    def __init__(self, bins: int, half_life: float) -> None:
        self.mass = np.zeros(bins)
        self._keep: float = 0.5 ** (1 / half_life)
        self._squares = 0.0

    def add(self, bin: int) -> None:
        """Count one."""
        self.mass *= self._keep
        self.mass[bin] += 1
        self._squares = self._squares * self._keep**2 + 1

    @property
    def size(self) -> float:
        """Kish's effective sample size of the weights; 0 when empty."""
        return float(self.mass.sum()) ** 2 / self._squares if self._squares else 0.0

    def state(self) -> _Saved:
        """What :meth:`restore` takes."""
        return _Saved(tuple(round(float(mass), 6) for mass in self.mass), self._squares)

    def restore(self, saved: _Saved) -> None:
        """Go on from an earlier state of as many bins."""
        self.mass[:], self._squares = saved.mass, saved.squares


class _Saved(msgspec.Struct, frozen=True):
    mass: tuple[float, ...]
    squares: float


class _File(msgspec.Struct, frozen=True):
    model: str
    frames: int
    parts: dict[str, _Saved]


class DriftMeter:
    """Watches every frame; :meth:`watch` belongs to the agent's thread, the rest to any.

    What was counted outlives a restart; it begins anew with another model. `path` is written about
    once an hour and by :meth:`close`, on a thread of its own.
    """

    def __init__(
        self,
        config: DriftConfig,
        reference: Reference,
        spec: InputSpec,
        labels: Sequence[str],
        model: str,
        path: Path,
        counters: Counters,
        clock: Clock,
    ) -> None:
        self._config, self._reference, self._spec = config, reference, spec
        self._labels = {label: index for index, label in enumerate(labels)}
        self._model, self._file, self._clock = model, RecordFile(path, _File), clock
        half = float(config.half_life_frames)
        self._parts = {
            "confidence": Fading(d.CONFIDENCE_BINS, half),
            "brightness": Fading(d.BRIGHTNESS_BINS, half / PIXELS_EVERY),
            "sharpness": Fading(d.SHARPNESS_BINS, half / PIXELS_EVERY),
            "labels": Fading(len(labels), half),
        }
        self._frames = self._saved = 0
        self._lock = threading.Lock()
        self._trouble = Episode("drift", counters, log)
        self._writing: Background[None] | None = None
        self._load()
        self._due = clock.monotonic() + _SAVE_SECONDS

    def watch(self, frame: Frame, found: Classification, _event: Event | None) -> None:
        """Count a classified frame."""
        with self._lock:
            parts = self._parts
            parts["confidence"].add(d.confidence_bin(found.confidence))
            parts["labels"].add(self._labels[found.alternatives[0].label])
            if self._frames % PIXELS_EVERY == 0:
                seen = d.look(fit(frame.pixels, self._spec))
                parts["brightness"].add(d.brightness_bin(seen.brightness))
                parts["sharpness"].add(d.sharpness_bin(seen.sharpness))
            self._frames += 1
        if self._clock.monotonic() >= self._due:
            self._due = self._clock.monotonic() + _SAVE_SECONDS
            self._writing = Background(self._save)

    def value(self) -> float | None:
        """The largest of the alarming distances, 0 to 1; None until enough was seen."""
        with self._lock:
            if self._frames < self._config.min_frames:
                return None
            return max(self._distance(name) for name in ALARMING)

    def report(self) -> DriftReport:
        """The full report, for a person or a plot."""
        value = self.value()
        with self._lock:
            enough = value is not None
            return DriftReport(
                value=value,
                frames=self._frames,
                min_frames=self._config.min_frames,
                photos=self._reference.n,
                parts={
                    name: DriftPart(
                        distance=self._distance(name) if enough else None,
                        expected=_shares(self._expected(name)),
                        seen=_shares(part.mass.tolist()),
                    )
                    for name, part in self._parts.items()
                },
            )

    def close(self) -> None:
        """Write what was counted; doing so twice is fine."""
        if self._writing is not None:
            self._writing.result()
        self._save()

    def _expected(self, name: str) -> Sequence[float]:
        found: Sequence[float] = getattr(self._reference, name)
        return found

    def _distance(self, name: str) -> float:
        part = self._parts[name]
        if not part.size:
            return 0.0
        return round(
            d.distance(self._expected(name), part.mass.tolist(), self._reference.n, part.size), 4
        )

    def _save(self) -> None:
        with self._lock:
            if self._frames == self._saved:
                return
            parts = {name: part.state() for name, part in self._parts.items()}
            file = _File(self._model, self._frames, parts)
        with self._trouble.over(RecordError):
            self._file.replace(file)
            self._saved = file.frames

    def _load(self) -> None:
        """Go on where the last run ended, unless the file is of another model or damaged."""
        try:
            file = self._file.read()
            if file is None or file.model != self._model:
                return
            saved = [(part, file.parts[name]) for name, part in self._parts.items()]
            for part, one in saved:  # before any is taken over
                if len(one.mass) != len(part.mass):
                    raise ValueError(f"{len(one.mass)} bins instead of {len(part.mass)}")
            for part, one in saved:
                part.restore(one)
            self._frames = self._saved = file.frames
        except (RecordError, ShortageError) as error:
            log.warning("%s; counting starts again", error)
        except (ValueError, KeyError) as error:
            log.warning("%s is damaged (%s); counting starts again", self._file.path, error)


def _shares(mass: Sequence[float]) -> tuple[float, ...]:
    total = float(sum(mass)) or 1.0
    return tuple(round(float(one) / total, 4) for one in mass)
