"""What judges frames, and how another model takes its place between two of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.errors import ModelError
from edge.messages.device import RunningModel
from edge.messages.sighting import ModelRef
from edge.model.missing_labels import by_decision
from edge.model.tiled_classifier import TiledClassifier
from edge.sightings.decision import Decider

if TYPE_CHECKING:
    from edge.config import Config
    from edge.model.classifier import Classification, Classifier
    from edge.model.image.preprocessing import Pixels
    from edge.model.tiles import Size
    from edge.system.clock import Clock

log = logging.getLogger(__name__)


class ModelSwitch:
    """Judges frames with a model that can be exchanged; gives it to `part` at the end.

    :meth:`look` belongs to the agent's thread, :meth:`offer` to any other. `told` are called on the
    agent's thread when another model has taken over, before it sees its first frame.
    """

    def __init__(
        self,
        classifier: Classifier,
        config: Config,
        clock: Clock,
        part: Callable[[Classifier], object],
    ) -> None:
        self._config, self._clock, self._part = config, clock, part
        self._lock = threading.Lock()
        self._coming: tuple[Classifier, TiledClassifier, threading.Event] | None = None
        self._busy_since: float | None = None
        self.told: list[Callable[[], None]] = []
        self.failures = 0
        """Frames in a row that the model failed on."""
        self.reframed = False
        """The model takes other pictures than the one before it."""
        self.classifier, self._viewer = classifier, TiledClassifier(classifier, config.view)
        self.decider = Decider(config.decision, _thresholds(classifier))
        self._compare()

    @property
    def running(self) -> RunningModel:
        """The model that judges, and on what it runs."""
        model = self.classifier.model_info
        return RunningModel(
            name=model.name,
            version=model.version,
            sha256=model.sha256,
            labels=self.classifier.labels,
            runtime=model.runtime,
            runtime_version=model.runtime_version,
        )

    @property
    def title(self) -> str:
        """Name and version of the model that judges."""
        model = self.classifier.model_info
        return f"{model.name} {model.version}"

    @property
    def ref(self) -> ModelRef:
        """The model that judges, as sightings name it."""
        model = self.classifier.model_info
        return ModelRef(name=model.name, version=model.version, sha256=model.sha256)

    @property
    def offered(self) -> bool:
        """Another model is to take over with the next frame."""
        return self._coming is not None

    @property
    def busy_seconds(self) -> float:
        """How long the frame that is being judged has taken until now."""
        since = self._busy_since
        return 0.0 if since is None else self._clock.monotonic() - since

    def look(self, pixels: Pixels, size: Size) -> Classification:
        """Classify as :meth:`edge.model.tiled_classifier.TiledClassifier.look` does, with a new
        model where one waits. Raises ImageError, ModelError.
        """
        if self.offered:
            self._exchange()
        self._busy_since = self._clock.monotonic()
        try:
            found = self._viewer.look(pixels, size)
        except ModelError:
            self.failures += 1
            raise
        finally:
            self._busy_since = None
        self.failures = 0
        return found

    def offer(self, classifier: Classifier) -> threading.Event:
        """Have `classifier` take over with the next frame; the event says when it has.

        Whoever offers closes the one before.
        """
        viewer, taken = TiledClassifier(classifier, self._config.view), threading.Event()
        with self._lock:
            self._coming = classifier, viewer, taken
        return taken

    def withdraw(self) -> bool:
        """Take an offer back; False where it was taken already."""
        with self._lock:
            coming, self._coming = self._coming, None
        return coming is not None

    def _exchange(self) -> None:
        with self._lock:
            coming, self._coming = self._coming, None
        if coming is None:
            return
        before, (self.classifier, self._viewer, taken) = self.classifier, coming
        self.reframed = before.input != self.classifier.input
        self.decider.exchange(_thresholds(self.classifier))
        self.failures = 0
        self._compare()
        for tell in self.told:
            tell()
        log.info("%s judges now", self.title)
        taken.set()

    def _compare(self) -> None:
        """Log a warning of settings for labels that this model does not have."""
        if problem := by_decision(self._config.decision, self.classifier.labels):
            log.warning("%s", problem)

    def close(self) -> None:
        """Let the model go; a second call does nothing."""
        self._part(self.classifier)

    def __enter__(self) -> ModelSwitch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _thresholds(classifier: Classifier) -> dict[str, float]:
    return dict(zip(classifier.labels, classifier.thresholds, strict=True))
