"""``capture``: a picture taken now, run through the model, answered with what is in it."""

from __future__ import annotations

from collections.abc import Callable

from edge.cameras import Frame
from edge.cameras.order import Order
from edge.cameras.photo import shrink_jpeg
from edge.config import Decision, Images, Requests
from edge.errors import RequestDeniedError
from edge.messages.verbs import Captured, CaptureParams
from edge.model.classifier import Classification
from edge.sightings.builder import frame_ref
from edge.sightings.findings import findings
from edge.sightings.identity import Identity
from edge.sightings.visits import Event
from edge.system.clock import Clock

Result = tuple[Frame, Classification, Event | None]
"""The frame, what the model says of it, and the event that it decided."""
TIMEOUT_SECONDS = 30.0
"""A camera that slept has to be opened and to settle first."""


class Capture:
    """Carries out ``capture``; `ask` orders a frame from the camera's thread."""

    def __init__(
        self,
        ask: Callable[[], Order[Result]],
        identity: Identity,
        decision: Decision,
        images: Images,
        clock: Clock,
        requests: Requests,
    ) -> None:
        self._ask, self._identity, self._clock = ask, identity, clock
        self._pictures, self._details = requests.pictures, requests.details
        self._decision, self._images = decision, images

    def now(self, params: CaptureParams, timeout_seconds: float = TIMEOUT_SECONDS) -> Captured:
        """Take a frame now; for any thread but the camera's and the agent's.

        Raises:
            CameraError: the camera gave no frame in time.
            ImageError: the frame was damaged.
            RequestDeniedError: a picture is wanted, and not allowed.
        """
        if params.image and not self._pictures:
            raise RequestDeniedError(
                "`image` asks for a picture, and requests.pictures is not set on this device; "
                "without it the answer says what is seen"
            )
        frame, found, event = self._ask().wait(timeout_seconds)
        says = findings(found, self._decision.thresholds, frozenset(self._decision.background))
        image = None
        if params.image:
            image = shrink_jpeg(frame.jpeg(), self._images.max_bytes, self._images.max_side)
        time, quality = self._clock.told(frame.time)
        return Captured(
            time=frame.time if frame.recorded else time,
            clock=quality,
            findings=says,
            sighting=event is not None,
            model=self._identity.model,
            frame=frame_ref(frame, says[0]),
            location=(frame.location or self._identity.location) if self._details else None,
            image=image,
        )

    def watch(self, frame: Frame, found: Classification, event: Event | None) -> None:
        """Hand a classified frame to whoever asked for it; a watcher of the agent."""
        if frame.order is not None:
            frame.order.finish((frame, found, event))
