"""Puts the device together from a configuration, runs it, takes it apart: ``wheatear run``."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from edge import homeassistant
from edge.agent import Agent
from edge.cameras import open_camera
from edge.cameras.reader import Reader
from edge.classifier import Classifier
from edge.clock import SystemClock
from edge.config import Config, Model
from edge.counters import Counters
from edge.errors import OutboxError
from edge.gps import Gps
from edge.health import Reporter, place
from edge.identity import boot_id
from edge.learning import Learning
from edge.messages import ModelRef
from edge.models.choice import current_path
from edge.models.device import DeviceModels
from edge.notify import Notifier
from edge.outbox import Outbox
from edge.prometheus import Exporter
from edge.publisher import Publisher
from edge.pulse import Flow
from edge.remote import Remote
from edge.requests import Params, Requests
from edge.retime import Retimer
from edge.sightings import Identity, cut_off
from edge.signing import load_public_key
from edge.starts import Starts
from edge.triggers import open_gate
from edge.triggers.capture import Capture, CaptureParams
from edge.verbs import Overview
from edge.vitals import Vitals
from edge.writer import Writer

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
"""How long a program that is told to stop goes on delivering."""


def open_classifier(config: Config) -> Classifier:
    """Load the configured model. Raises BundleError, ModelError, RuntimeUnavailableError, ..."""
    model = config.model
    if model.tflite:
        return Classifier.from_tflite(model.tflite, model.labels, model.runtime, model.threads)
    return load_bundle(current_path(model), model)


def load_bundle(path: Path, model: Model) -> Classifier:
    """Load a bundle as `model` says. Raises BundleError, ModelError, ..."""
    return Classifier.from_bundle(
        path,
        model.runtime,
        model.threads,
        trusted_keys=[load_public_key(path) for path in model.trusted_keys],
        self_test=model.self_test,
    )


def run(
    config: Config,
    stop: threading.Event,
    drain_timeout_seconds: float | None,
    remote: Remote,
) -> bool:
    """Run the device until `stop` is set or the camera has no more frames.

    After the last frame, wait until the broker acknowledged everything (`stop` and the timeout end
    the waiting). True where nothing is left: after `stop`, nothing that is not on disk.

    Raises:
        WheatearError: the model, the camera or the outbox cannot be opened.
    """

    def renew_info() -> None:
        publisher.renew(f"{publisher.base}/info")

    with ExitStack() as stack:
        counters, clock = Counters(), SystemClock()
        models = DeviceModels(
            config,
            lambda path: load_bundle(path, config.model),
            lambda: open_classifier(config),
            counters,
            clock,
        )
        switch = stack.enter_context(models.switch)
        outbox = stack.enter_context(Outbox(config.outbox.path, config.outbox.max_bytes))
        camera = open_camera(config.camera, switch.classifier.input, config.view)
        writer = Writer(outbox, lambda: publisher.wake(), counters, config.outbox.commit_seconds)
        gps = Gps(config.gps, clock, counters, renew_info)
        identity = _identity(config, switch.ref, gps)
        reporter = Reporter(
            config,
            switch.running,
            outbox,
            writer,
            counters,
            clock,
            where=lambda: identity.location,
            configured=remote.state,
            verbs=lambda: requests.verbs,
        )
        learning = Learning(
            config, switch.classifier, identity, counters, clock, lambda: publisher.nudge()
        )
        requests = Requests(
            config.requests,
            f"{config.broker.base_topic}/{config.device_id}",
            counters,
            clock,
            lambda: publisher.nudge(),
            remote.memory,
        )
        publisher = Publisher(
            config.broker,
            config.device_id,
            outbox,
            reporter.info,
            reporter.state,
            counters,
            config.report.state_seconds,
            spare=learning.inbox,
            introductions=[
                *homeassistant.introductions(config, lambda: switch.running),
                *models.introductions(lambda topic: publisher.renew(topic)),
            ],
            clock=clock,
            requests=requests,
            hold=lambda: retimer.hold(),
        )
        retimer = Retimer.of(config, outbox, clock, counters, renew_info)
        frames = Reader(
            lambda: open_camera(config.camera, switch.classifier.input, config.view),
            counters,
            camera,
            gate=open_gate(config, clock, counters, lambda: identity.location),
        )
        capture = Capture(frames.ask, identity, config.decision, config.images, clock)
        requests.on("capture", CaptureParams, capture.now)
        starts = Starts.beside(config.outbox.path, identity.boot, counters)
        vitals = Vitals(starts, outbox, counters, clock)
        measure = vitals.health(learning.health(reporter.health))
        overview = Overview(reporter, measure, lambda: publisher.protocol)
        requests.on("status", Params, overview.status)
        models.connect(requests, identity, reporter, learning, publisher, frames)
        flow = Flow(config, frames, counters, clock)
        notifier = Notifier(flow.stalled, lambda: _status(counters, outbox), counters, remote.stays)
        remote.serve(requests, config.requests.confirm_seconds)
        trial = remote.trial(counters, clock, frames.ask, renew_info)
        learning.serve(requests)
        exporter = Exporter(config.report, overview.now, lambda: switch.title, counters)
        agent = Agent(
            flow,
            switch,
            switch.decider,
            writer.submit,
            identity,
            config.images,
            vitals.reported(overview.health),
            config.report.health_seconds,
            counters,
            clock,
            stop,
            watchers=[flow.watch, capture.watch, *models.watchers, *learning.watchers],
        )
        writer.submit([cut_off(one) for one in outbox.lives()])
        with (
            starts,
            exporter,
            retimer,
            gps,
            learning,
            _running_threads(writer, publisher, frames, requests),
            models,
            notifier,
            trial,
        ):
            agent.run()
            frames.close()
            ended = not stop.is_set()
            if ended:
                _drain(writer, outbox, learning, stop, drain_timeout_seconds)
        left = len(writer.unwritten) + (outbox.depth().waiting if ended else 0)
        _say(counters, outbox, left)
        return not left


@contextlib.contextmanager
def _running_threads(
    writer: Writer, publisher: Publisher, frames: Reader, requests: Requests
) -> Iterator[None]:
    """Start the threads; stop them in the order in which nothing is lost."""
    writer.start()
    publisher.start()
    frames.start()
    requests.start()
    try:
        yield
    finally:
        frames.close()
        requests.close()
        writer.close()
        publisher.close(FLUSH_SECONDS)


def _drain(
    writer: Writer,
    outbox: Outbox,
    learning: Learning,
    stop: threading.Event,
    timeout_seconds: float | None,
) -> None:
    started = time.monotonic()
    while not stop.is_set():
        if timeout_seconds is not None and time.monotonic() - started > timeout_seconds:
            return
        with contextlib.suppress(OutboxError):
            if writer.flush(0.2) and not outbox.depth().waiting and learning.flush(0.2):
                return
        stop.wait(0.02)


def _identity(config: Config, model: ModelRef, gps: Gps) -> Identity:
    return Identity(
        config.device_id,
        boot_id(),
        model,
        place(config),
        gps.where,
    )


def _status(counters: Counters, outbox: Outbox) -> str:
    """Say in a line what the program does, for ``systemctl status``."""
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
