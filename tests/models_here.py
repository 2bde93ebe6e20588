"""The models of a device without the device: a store, what judges, what is told, by turns."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import devices
import numpy as np
import proofs
import pytest
from clocks import Hand
from test_models import Place
from there import there

from edge.cameras import Frame
from edge.cameras.folder import Folder
from edge.cameras.reader import Reader
from edge.config import FolderCamera
from edge.device.health.reporter import Reporter
from edge.errors import ModelError
from edge.feedback.feedback import Feedback
from edge.model.classifier import Classifier
from edge.outbox.outbox import Outbox
from edge.outbox.writer import Writer
from edge.sightings.identity import Identity
from edge.system.bell import Bell
from edge.system.counters import Counters
from edge.updates.load import load_bundle
from edge.updates.progress import ProgressTopic
from edge.updates.service import UpdateService
from edge.updates.switch import ModelSwitch

PIXELS = np.full((32, 32, 3), 90, np.uint8)
SIZE = (32, 32)
FRAME = Frame(PIXELS, datetime(2026, 6, 21, tzinfo=UTC), "1.jpg", *SIZE, lambda: b"")


class Exchanged(Feedback):
    """Remembers the models that it went on with."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.models: list[Classifier] = []

    def exchange(self, classifier: Classifier) -> None:
        """Go on with another."""
        super().exchange(classifier)
        self.models.append(classifier)


class Reopened(Reader):
    """Counts how often it was told to open its camera anew."""

    count = 0

    def reopen(self) -> None:
        """Open it anew before the next frame."""
        super().reopen()
        self.count += 1


class Followers(NamedTuple):
    """All that names the model of a device, or depends on it, in the order of ``connect``."""

    identity: Identity
    reporter: Reporter
    feedback: Exchanged
    bell: Bell
    frames: Reopened


class Here:
    """All that :class:`UpdateService` brings together, on the thread of the test."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, model: str = "") -> None:
        proofs.in_this_process(patch)
        self.place = Place(folder, model)
        self.store, self.model = self.place.store, self.place.config.model
        self.clock, self.counters = Hand(), Counters()
        self.ended = 0
        self.closing = threading.Event()
        self.payloads: list[dict[str, Any]] = []
        self.loaded: list[Classifier] = []
        self.start()

    def start(self) -> None:
        """Start the program anew."""
        self.models = UpdateService(
            self.store, self.model, self.load, self.counters, self.clock, self._end
        )
        self.switch = ModelSwitch(
            self.models.open(), self.place.config, self.clock, lambda last: last.close()
        )
        self.tell = ProgressTopic(
            "wheatear/cam-1", lambda: self.switch.running, self.clock, self._said
        )
        self.models.attach(self.switch, self.tell)
        self.follower, self.updater = self.models.follower, self.models.updater
        there(self.follower).rhythm.begin(self.clock.seconds)

    @contextmanager
    def followers(self) -> Iterator[Followers]:
        """Yield what follows the model, as a device has it."""
        config, counters, clock, bell = self.place.config, self.counters, self.clock, Bell()
        identity = Identity("cam-1", "boot", self.switch.ref, None)
        photos = self.place.folder / "photos"
        devices.photos(photos, 1)
        with Outbox(config.outbox.path) as outbox:
            writer = Writer(outbox, bell.news, counters)
            camera = Folder(FolderCamera(path=photos), self.switch.classifier.input)
            yield Followers(
                identity,
                Reporter(config, self.switch.running, outbox, writer, counters, clock),
                Exchanged(config, self.switch.classifier, identity, counters, clock, bell.ring),
                bell,
                Reopened(lambda: camera, counters, camera),
            )

    def load(self, path: Path) -> Classifier:
        """Load a bundle, as a device does."""
        self.loaded.append(load_bundle(path, self.model))
        return self.loaded[-1]

    def _end(self) -> None:
        self.ended += 1

    def _said(self, _topic: str) -> None:
        self.payloads.append(json.loads(self.tell.introduction().payload() or b""))

    @property
    def said(self) -> dict[str, Any]:
        """What the topic says."""
        return json.loads(self.tell.introduction().payload() or b"")

    @property
    def version(self) -> str:
        """Of the model that judges."""
        return self.switch.running.version

    def look(self) -> None:
        """Do once what the thread does all the time, while frames come."""
        self.follow()
        there(self.follower).judge()
        there(self.updater).work(self.closing.is_set)

    def follow(self) -> None:
        """Follow the record while frames come, for some seconds at most."""
        over, until = threading.Event(), time.monotonic() + 5.0

        def frames() -> None:
            while not over.wait(0.001):
                if self.switch.offered:
                    self.see()

        thread = threading.Thread(target=frames)
        thread.start()
        try:
            there(self.follower).follow(lambda: self.closing.is_set() or time.monotonic() > until)
        finally:
            over.set()
            thread.join()

    def see(self, count: int = 1, seconds: float = 0.0) -> None:
        """Have frames judged, so many seconds apart; what fails is left out."""
        for _ in range(count):
            self.clock.forward(seconds)
            try:
                found = self.switch.look(PIXELS, SIZE)
            except ModelError:
                continue
            self.models.watch(FRAME, found, None)
