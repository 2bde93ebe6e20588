"""Puts the device together from a configuration, runs it, takes it apart: ``wheatear run``."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

from edge.cameras import Camera, open_camera
from edge.cameras.photo import shrink_jpeg
from edge.cameras.reader import Reader
from edge.cameras.triggers import open_gate
from edge.config import Config, FolderCamera
from edge.device.agent import Agent
from edge.device.capture import Capture
from edge.device.dead_letter_verbs import LetterVerbs
from edge.device.health.meter import HealthMeter
from edge.device.health.parts import DeviceHealth, QueueHealth
from edge.device.health.prometheus import Exporter
from edge.device.health.reporter import Reporter
from edge.device.health.stalls import FrameFlow
from edge.device.health.starts import StartCounter
from edge.device.models import DeviceModels, keep_up
from edge.device.remote import Remote
from edge.device.status import StatusVerb
from edge.errors import CameraError, OutboxError
from edge.feedback.feedback import Feedback
from edge.messages.requests import CAPTURE, STATUS
from edge.mqtt.delivery import Waiting
from edge.mqtt.homeassistant import discovery as homeassistant
from edge.mqtt.publisher import Publisher, Retained
from edge.mqtt.requests import RequestServer
from edge.outbox.dead_letters import FOLDER, DeadLetters
from edge.outbox.outbox import Outbox
from edge.outbox.retime import Retimer
from edge.outbox.writer import Writer
from edge.sightings.builder import SightingBuilder, cut_off, picture_budget
from edge.sightings.identity import Identity
from edge.system.bell import Bell
from edge.system.clock import SystemClock
from edge.system.counters import Counters
from edge.system.gps import GpsReceiver
from edge.system.handover import Handover
from edge.system.identity import boot_id, device_id, installation
from edge.system.place import place
from edge.system.systemd import Longer, Systemd
from edge.system.volatile_storage import storage

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
"""How long a program that is told to stop goes on delivering."""

_OPEN_SECONDS, _LEAVE_SECONDS = 3600.0, 300.0
"""How long systemd is asked for more time while the outbox is opened, and at the end."""


def run(
    config: Config,
    stop: threading.Event,
    drain_timeout_seconds: float | None,
    remote: Remote,
    kept: Handover,
) -> bool:
    """Run the device until `stop` is set or the camera has no more frames.

    After the last frame, wait until the broker acknowledged everything (`stop` and the timeout end
    the waiting). True where nothing is left: after `stop`, nothing that is not on disk. What `kept`
    holds of the run before is used again.

    Raises:
        WheatearError: the model, the outbox or the folder of a replay cannot be opened; no picture
            of a replay could be classified; a thread ended that the device cannot do without.
    """
    with ExitStack() as stack:
        return _Device(config, stop, remote, kept, stack).run(drain_timeout_seconds)


class _Device:
    """All parts of a device, and who knows whom. What `stack` is to close is open then."""

    def __init__(
        self,
        config: Config,
        stop: threading.Event,
        remote: Remote,
        kept: Handover,
        stack: ExitStack,
    ) -> None:
        self._config, self._stop, self._remote, self._kept = config, stop, remote, kept
        self._counters, self._clock, self._bell = Counters(), SystemClock(), Bell()
        self._base = f"{config.broker.base_topic}/{device_id(config)}"
        self._open(stack)
        self._speak()
        self._look()
        self._watch_over()

    def _open(self, stack: ExitStack) -> None:
        """Open what can fail to: model, outbox, camera."""
        config, counters, clock = self._config, self._counters, self._clock
        self._models = DeviceModels(config, self._kept, counters, clock)
        self._switch = stack.enter_context(self._models.switch)
        self._leaving = stack.enter_context(Longer(_LEAVE_SECONDS))
        with Longer(_OPEN_SECONDS) as longer:  # to look through a large file takes its time
            longer.begin()
            self._outbox = stack.enter_context(Outbox(config.outbox.path, config.outbox.max_bytes))
        kept_on = storage(config.outbox.path.parent)
        if kept_on.fleeting:
            log.warning("outbox.path: %s", kept_on.fleeting)
            counters.failing("outbox.path", kept_on.fleeting)
        gate = open_gate(config, clock, counters, lambda: self._identity.location)
        self._frames = Reader(
            self._open_camera, counters, self._first_camera(), gate=gate, part=self._part_from
        )
        stack.callback(self._frames.close)  # also where what follows cannot be put together
        folder, most = config.outbox.path.with_name(FOLDER), config.outbox.max_dead_letter_bytes
        self._letters = DeadLetters(folder, most)
        self._writer = Writer(
            self._outbox,
            self._bell.news,
            counters,
            config.outbox.commit_seconds,
            unwritable=self._set_aside,
        )
        self._gps = GpsReceiver(config.gps, clock, counters, self._renew_info)
        self._identity = Identity(
            device_id(config),
            boot_id(),
            self._switch.ref,
            place(config),
            self._gps.where,
            installation(config.outbox.path.parent, on=kept_on),
        )

    def _speak(self) -> None:
        """Put together what says and hears: messages, requests, pictures to learn from."""
        config, counters, clock = self._config, self._counters, self._clock
        self._requests = RequestServer(
            config.requests,
            self._base,
            counters,
            clock,
            self._bell.ring,
            self._remote.memory(config.outbox.path),
        )
        self._reporter = Reporter(
            config,
            self._switch.running,
            self._outbox,
            self._writer,
            counters,
            clock,
            where=lambda: self._identity.location,
            configured=self._remote.state,
            verbs=lambda: self._requests.verbs,
            installation=self._identity.installation,
        )
        self._feedback = Feedback(
            config,
            self._switch.classifier,
            self._identity,
            counters,
            clock,
            self._bell.ring,
        )
        self._retimer = Retimer.of(config, self._outbox, clock, counters, self._renew_info)
        self._publisher = Publisher(
            config.broker,
            device_id(config),
            Waiting(
                self._outbox,
                shrink_jpeg,
                self._letters,
                self._retimer.hold,
                self._retimer.righted,
            ),
            Retained(
                self._reporter.info,
                self._reporter.state,
                config.report.state_seconds,
                [
                    *homeassistant.introductions(config, lambda: self._switch.running),
                    *self._models.introductions(self._bell.renew),
                ],
            ),
            counters,
            clock,
            self._bell,
            spare=self._feedback.inbox,
            requests=self._requests,
        )
        self._desk = LetterVerbs(self._letters, self._bell.ring)

    def _look(self) -> None:
        """Put together what takes frames and judges them."""
        config, counters, clock = self._config, self._counters, self._clock
        self._flow = FrameFlow(config, self._frames, counters, clock)
        capture = Capture(
            self._frames.ask, self._identity, config.decision, config.images, clock, config.requests
        )
        self._starts = StartCounter.beside(config.outbox.path, self._identity.boot, counters)
        self._meter = HealthMeter(
            [
                DeviceHealth(config, counters, clock).part,
                QueueHealth(self._outbox, self._letters, clock).part,
                self._starts.part,
                self._feedback.health,
            ],
            counters,
        )
        status = StatusVerb(
            self._reporter,
            self._meter.now,
            lambda: self._publisher.protocol,
            config.requests.details,
        )
        self._agent = Agent(
            self._flow,
            self._switch,
            self._switch.decider,
            SightingBuilder(
                self._identity,
                config.images,
                counters,
                clock,
                picture_budget(config.images, config.outbox.path),
            ),
            self._writer.submit,
            self._meter.report,
            config.report.health_seconds,
            counters,
            clock,
            self._stop,
            [
                self._flow.watch,
                capture.watch,
                *self._models.watchers,
                self._feedback.watch,
            ],
        )
        self._requests.on(CAPTURE, capture.now)
        self._requests.on(STATUS, status.status)
        self._feedback.serve(self._requests)
        self._desk.serve(self._requests)

    def _watch_over(self) -> None:
        """Put together what follows the device from outside: requests, systemd, Prometheus."""
        config, counters = self._config, self._counters
        self._models.serve(self._requests)
        keep_up(
            self._switch,
            self._identity,
            self._reporter,
            self._feedback,
            self._bell,
            self._frames,
        )
        self._notifier = Systemd(
            self._flow.stalled,
            lambda: _status(counters, self._outbox),
            counters,
            self._remote.stays,
            self._leaving.begin,
        )
        self._remote.serve(self._requests, config.requests.confirm_seconds)
        self._exporter = Exporter(
            config.report, self._meter.now, lambda: self._switch.title, counters
        )

    def run(self, drain_timeout_seconds: float | None) -> bool:
        """Run; False where something was left behind."""
        counters, outbox, writer, stop = self._counters, self._outbox, self._writer, self._stop
        counters.crew.alarm(stop.set)
        writer.submit([cut_off(one) for one in outbox.lives()])
        with (
            self._starts,
            self._exporter,
            self._retimer,
            self._gps,
            self._feedback,
            _running_threads(writer, self._publisher, self._frames, self._requests),
            self._models,
            self._notifier,
            self._remote.trial(counters, self._clock, self._frames.ask, self._renew_info),
        ):
            self._agent.run()
            self._frames.close()
            ended = not stop.is_set()
            if ended:
                _drain(writer, outbox, self._feedback, stop, drain_timeout_seconds)
        left = len(writer.unwritten) + (outbox.depth().waiting if ended else 0)
        _say(counters, outbox, left)
        counters.crew.check()
        if ended and not counters["frames_classified"] and (problems := counters.problems()):
            raise CameraError(f"no picture could be classified: {'; '.join(problems)}")
        return not left and not counters["sightings_lost"]

    def _set_aside(self, message: object, error: Exception) -> None:
        """Keep what cannot be made a message; on the writer's thread, which goes on regardless."""
        self._letters.keep(message, str(error), self._clock.now())

    def _renew_info(self) -> None:
        self._bell.renew(f"{self._base}/info")

    def _first_camera(self) -> Camera | None:
        """Open the camera; None where a live one is away, which the reader then waits for: what is
        on disk goes out meanwhile, and the device can be asked what is wrong.
        """
        try:
            return self._open_camera()
        except CameraError:
            if isinstance(self._config.camera, FolderCamera):
                raise
            return None

    def _open_camera(self) -> Camera:
        config, spec = self._config, self._switch.classifier.input
        return self._kept.take(
            "camera",
            (config.camera, spec, config.view),
            lambda: open_camera(config.camera, spec, config.view, config.trigger.time_zone),
        )

    def _part_from(self, camera: Camera) -> None:
        """A replay is not kept: the frames that it read ahead would be left out."""
        if camera.live:
            self._kept.leave(camera)
        else:
            camera.close()


@contextlib.contextmanager
def _running_threads(
    writer: Writer, publisher: Publisher, frames: Reader, requests: RequestServer
) -> Iterator[None]:
    """Start the threads; stop them in the order in which nothing is lost."""
    with ExitStack() as ends:  # each, whatever becomes of those before it
        ends.callback(publisher.close, FLUSH_SECONDS)
        ends.callback(writer.close)
        ends.callback(requests.close)
        ends.callback(frames.close)
        for part in (writer, publisher, frames, requests):
            part.start()
        yield


def _drain(
    writer: Writer,
    outbox: Outbox,
    feedback: Feedback,
    stop: threading.Event,
    timeout_seconds: float | None,
) -> None:
    started = time.monotonic()
    while not stop.is_set():
        if timeout_seconds is not None and time.monotonic() - started > timeout_seconds:
            return
        with contextlib.suppress(OutboxError):
            if writer.flush(0.2) and not outbox.depth().waiting and feedback.flush(0.2):
                return
        stop.wait(0.02)


def _status(counters: Counters, outbox: Outbox) -> str:
    """One line on what the program does, for ``systemctl status``."""
    waiting = ""
    with contextlib.suppress(OutboxError):
        waiting = f", {outbox.depth().waiting} messages waiting"
    return (
        f"{counters['frames_classified']} frames, {outbox.appended} sightings, "
        f"{counters['delivered']} messages delivered{waiting}"
        + (f"; the camera sleeps {asleep}" if (asleep := counters.noted("asleep")) else "")
        + "".join(f"; {problem}" for problem in counters.problems())
    )


def _say(counters: Counters, outbox: Outbox, left: int) -> None:
    log.info(
        "%d frames classified (%d bad, %d skipped, %d idle), %d sightings, "
        "%d messages acknowledged, %d left behind",
        counters["frames_classified"],
        counters["frames_bad"],
        counters["frames_skipped"],
        counters["frames_idle"],
        outbox.appended,
        counters["delivered"],
        left,
    )
    if counters["frames_failed"] or counters["sightings_lost"]:
        log.error(
            "%d frames could not be classified, and %d sightings are lost",
            counters["frames_failed"],
            counters["sightings_lost"],
        )
