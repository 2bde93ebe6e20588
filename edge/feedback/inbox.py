"""Keeps what is worth learning from, and offers thumbnails of it to the publisher.

The agent only asks :class:`~edge.feedback.selection.Selector` and hands over; encoding, writing,
shrinking and deleting happen on a thread of its own, so that a slow card slows no frame. The
publisher takes a
thumbnail that lies ready when nothing else waits: sightings always go first.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING

import msgspec

from edge.cameras.photo import encode_jpeg, facts, shrink_jpeg
from edge.errors import ImageError, PictureStoreError, ShortageError
from edge.feedback.picture_store import KeptPicture, PictureStore
from edge.feedback.selection import USEFULNESS, Selected, Selector
from edge.messages.base import Clock as Quality
from edge.messages.base import encode, new_id
from edge.messages.feedback import InboxItem, InboxPicture
from edge.messages.health import InboxHealth
from edge.messages.sighting import FrameRef, ModelRef
from edge.model.image.preprocessing import decode
from edge.mqtt.idle_sender import Outcome, Parcel
from edge.system.counters import Counters, Episode
from edge.system.daily_budget import Budget

if TYPE_CHECKING:
    from edge.cameras import Frame
    from edge.config import Inbox as InboxConfig
    from edge.model.classifier import Classification
    from edge.sightings.identity import Identity
    from edge.sightings.visits import Event
    from edge.system.clock import Clock

log = logging.getLogger(__name__)

_GATHERED = 4
"""Frames that wait for the disk at most; each may hold a full picture in memory."""
_LOOK_SECONDS = 30.0
"""How often to see whether a new day has brought a new budget."""
_LEAST_PROBABILITY = 1e-4


class _Job(msgspec.Struct, frozen=True):
    selected: Selected
    time: datetime
    clock: Quality
    model: ModelRef
    labels: tuple[str, ...]


class PictureInbox:
    """Watches every frame, keeps some, and has thumbnails ready to be sent.

    `pictures` opens the folder, on the inbox's own thread; `tell` is called when a thumbnail is
    ready.
    :meth:`watch` belongs to the agent's thread; :meth:`next` and :meth:`settled` to the
    publisher's; :meth:`health` and :meth:`read` to any.
    """

    def __init__(
        self,
        config: InboxConfig,
        pictures: Callable[[], PictureStore],
        identity: Identity,
        labels: tuple[str, ...],
        counters: Counters,
        clock: Clock,
        tell: Callable[[], None] = lambda: None,
        random: Random | None = None,
    ) -> None:
        self._config, self._identity, self._labels = config, identity, labels
        self._counters, self._clock, self._tell = counters, clock, tell
        self._selector = Selector(config, (random or Random()).random)
        self._open_pictures = pictures
        self._pictures: PictureStore | None = None
        self._budget: Budget | None = None
        self._jobs: deque[_Job] = deque()
        self._answers: deque[tuple[Parcel, Outcome]] = deque()
        self._made: Parcel | None = None
        """Waits for a day with room for it."""
        self._ready: Parcel | None = None
        """Paid for, and waits for the publisher."""
        self._flying = self._refused = False
        self._last_sent = -1
        self._change = threading.Condition()
        self._busy, self._closing = True, False
        self._health = InboxHealth()
        self._trouble = Episode("inbox", counters, log)
        self._short = Episode("pictures of the inbox", counters, log)
        self._thread = counters.crew.worker("inbox", self._run, lambda: self._closing)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Write what was handed over, and end the thread."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def exchange(self, labels: tuple[str, ...]) -> None:
        """Go on with the frames of another model, on the agent's thread."""
        self._labels = labels
        self._selector.forget()

    def watch(self, frame: Frame, found: Classification, _event: Event | None) -> None:
        """Look at a classified frame, and hand it over where it is worth keeping."""
        selected = self._selector.see(frame, found, self._clock.since_boot())
        if selected is None:
            return
        time, quality = self._clock.told(selected.frame.time)
        if selected.frame.recorded:
            time = selected.frame.time
        with self._change:
            if len(self._jobs) >= _GATHERED:
                self._counters.add("inbox_missed")
                return
            self._jobs.append(_Job(selected, time, quality, self._identity.model, self._labels))
            self._change.notify_all()

    def next(self) -> Parcel | None:
        """Return a thumbnail that may be sent now."""
        with self._change:
            parcel, self._ready = self._ready, None
            self._flying = self._flying or parcel is not None
            return parcel

    def settled(self, parcel: Parcel, outcome: Outcome) -> None:
        """Learn what became of a thumbnail; what was not taken is paid for and offered again."""
        with self._change:
            self._answers.append((parcel, outcome))
            self._refused = outcome == "refused"
            self._change.notify_all()

    def read(self, id: str) -> tuple[InboxItem, bytes]:
        """Read a kept picture at full size.

        Raises PictureStoreError where there is none with this id.
        """
        if self._pictures is None:
            raise PictureStoreError("the folder of kept pictures is not open yet; ask again")
        return self._pictures.read(id)

    def health(self) -> InboxHealth:
        """How much is kept and sent."""
        count = self._counters
        return msgspec.structs.replace(
            self._health,
            kept=count["inbox_kept"],
            missed=count["inbox_missed"],
            sent=count["inbox_sent"],
        )

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until all is kept, and what may be sent is sent or denied; False: not in time."""
        with self._change:
            return self._change.wait_for(self._idle, timeout_seconds)

    def _idle(self) -> bool:
        sending = self._ready is not None or self._flying
        return not (self._jobs or self._answers or self._busy or (sending and not self._refused))

    def _run(self) -> None:
        while True:
            with self._change:
                job = self._jobs.popleft() if self._jobs else None
                answers, self._answers = self._answers, deque()
                self._busy = True
            try:
                self._work(job, answers)
                self._short.recovered()
            except ShortageError as error:  # no picture is at fault
                self._short.failed(error)
            except (PictureStoreError, ImageError, OSError) as error:
                self._trouble.failed(error)
            except Exception as error:  # a bug must not end the keeping for good
                log.exception("the inbox failed; it goes on")
                self._trouble.failed(error)
            with self._change:
                self._busy = False
                self._change.notify_all()
                if self._closing and not self._jobs:
                    return
                self._change.wait_for(
                    lambda: self._jobs or self._answers or self._closing, _LOOK_SECONDS
                )

    def _work(self, job: _Job | None, answers: deque[tuple[Parcel, Outcome]]) -> None:
        if self._pictures is None:
            self._pictures = self._open_pictures()
            folder, most = self._pictures.folder, self._config.max_bytes_per_day
            self._budget = Budget(folder / "budget.json", most)
        pictures = self._pictures
        for parcel, outcome in answers:
            self._flying = False  # not before: it would be chosen again, being unsent still
            if outcome == "taken":
                self._counters.add("inbox_sent")
                pictures.mark_sent(parcel.id)
            else:
                self._made = parcel
        try:
            if job is not None:
                self._keep(pictures, job)
            if self._config.send and not (self._ready or self._flying or self._closing):
                self._prepare(pictures)
        finally:
            self._measure(pictures)

    def _keep(self, pictures: PictureStore, job: _Job) -> None:
        jpeg = job.selected.frame.jpeg()
        item = self._item(job, new_id(), jpeg)
        if pictures.add(item, jpeg):
            self._counters.add("inbox_kept")
        self._trouble.recovered()

    def _item(self, job: _Job, id: str, jpeg: bytes) -> InboxItem:
        frame, found, kept = job.selected
        identity = self._identity
        order = found.probabilities.argsort(kind="stable")[::-1].tolist()
        shares = {job.labels[i]: round(float(found.probabilities[i]), 4) for i in order}
        return InboxItem(
            device=identity.device,
            boot=identity.boot,
            id=id,
            kept=kept,
            time=job.time,
            clock=job.clock,
            boot_seconds=None
            if frame.recorded
            else round(self._clock.seconds_since_boot(frame.time), 3),
            label=found.label,
            reason=found.reason,
            confidence=found.confidence,
            probabilities={k: v for k, v in shares.items() if v >= _LEAST_PROBABILITY},
            model=job.model,
            frame=FrameRef(
                width=frame.width, height=frame.height, region=_region(found), source=frame.source
            ),
            location=frame.location or identity.location,
            picture=picture(jpeg),
        )

    def _prepare(self, pictures: PictureStore) -> None:
        """Make the next thumbnail ready, if the day's budget has room for it."""
        assert self._budget is not None
        while self._made is None and (entry := self._choose(pictures)) is not None:
            self._made = self._parcel(pictures, entry)
            self._last_sent = USEFULNESS.index(entry.kept)
        if self._made is None or not self._budget.take(self._made.bytes, self._clock.now()):
            return
        with self._change:
            self._ready, self._made = self._made, None
        self._tell()

    def _choose(self, pictures: PictureStore) -> KeptPicture | None:
        """Let the reasons take turns, the oldest of each first: none uses up the budget alone."""
        turn = self._last_sent + 1
        reasons = (*USEFULNESS[turn:], *USEFULNESS[:turn])
        return next(filter(None, map(pictures.oldest_unsent, reasons)), None)

    def _parcel(self, pictures: PictureStore, entry: KeptPicture) -> Parcel | None:
        """A thumbnail with what is said about it; a picture that cannot be read is dropped."""
        try:
            item, jpeg = pictures.read(entry.id)
            part = _part(jpeg, item.frame.region)
            small = shrink_jpeg(part, self._config.thumbnail_bytes, self._config.thumbnail_side)
            if small is None:
                raise ImageError(f"no thumbnail of {self._config.thumbnail_bytes} bytes")
            about = encode(msgspec.structs.replace(item, picture=picture(small)))
        except (PictureStoreError, ImageError) as error:
            self._counters.error(error)
            log.warning("a kept picture is given up: %s", error)
            pictures.drop(entry.id)
            return None
        topic = f"inbox/{entry.id}"
        return Parcel(entry.id, ((f"{topic}/meta", about), (topic, small)))

    def _measure(self, pictures: PictureStore) -> None:
        used = self._budget.used(self._clock.now()) if self._budget else 0
        self._health = InboxHealth(
            held=len(pictures),
            bytes=pictures.bytes,
            dropped=pictures.dropped,
            unsent=pictures.unsent,
            sent_bytes_today=used,
        )


def _region(found: Classification) -> tuple[int, int, int, int] | None:
    """The tile that the classification is about; None where the picture was not cut."""
    ours = (one.box for one in found.tiles if one.found.probabilities is found.probabilities)
    return next(ours, None)


def _part(jpeg: bytes, region: tuple[int, int, int, int] | None) -> bytes:
    """Cut out the part of a JPEG that the model looked at. Raises ImageError."""
    if region is None:
        return jpeg
    left, top, right, bottom = region
    return encode_jpeg(decode(jpeg)[top:bottom, left:right])


def picture(jpeg: bytes) -> InboxPicture:
    """Describe a JPEG. Raises ImageError."""
    known = facts(jpeg)
    return InboxPicture(
        width=known.width,
        height=known.height,
        bytes=len(jpeg),
        sha256=hashlib.sha256(jpeg).hexdigest(),
    )
