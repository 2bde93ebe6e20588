"""Checks of what no single setting shows. All raise ConfigError with the first that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge.config.broker import Broker
from edge.config.camera import View
from edge.config.hosts import pattern
from edge.config.model import Model, Update
from edge.config.whole import Config
from edge.errors import ConfigError


def check_together(config: Config, name: str) -> None:
    """Check a whole configuration."""
    problems = chain(
        _model(config.model),
        _frames(config),
        _view(config.view),
        _messages(config),
        _broker(config.broker),
        _update(config.model.update),
        _trigger(config),
    )
    _refuse(problems, name)


def check_broker(broker: Broker, name: str) -> None:
    """Check settings of the broker that go together."""
    _refuse(_broker(broker), name)


def check_view(view: View, name: str) -> None:
    """Check that every region and every polygon has an inside."""
    _refuse(_view(view), name)


def _refuse(problems: Iterator[str], name: str) -> None:
    for problem in problems:
        raise ConfigError(f"{name}: {problem}")


def _model(model: Model) -> Iterator[str]:
    if (model.bundle is None) == (model.tflite is None):
        yield (
            "set one of model.bundle (a .wtr file) and model.tflite (a model from elsewhere), not "
            f"{'neither' if model.bundle is None else 'both'}"
        )
    for setting in ("labels", "mean", "std", "crop", "background", "output"):
        if not model.tflite and getattr(model, setting) != getattr(Model(), setting):
            yield f"model.{setting} goes with model.tflite; a bundle has its own"
    if bool(model.mean) != bool(model.std):
        yield "model.mean and model.std belong together; set both or none"
    if model.store and not model.bundle:
        yield "model.store needs model.bundle, which is used when all else fails"


def _frames(config: Config) -> Iterator[str]:
    decision = config.decision
    if decision.agreeing_frames > decision.last_frames:
        yield (
            f"decision.agreeing_frames = {decision.agreeing_frames} is more than "
            f"decision.last_frames = {decision.last_frames}; no frame could ever agree often "
            "enough. Lower the first or raise the second"
        )
    interval = getattr(config.camera, "interval_seconds", 0.0)
    if decision.mode == "visits" and interval >= decision.blind_seconds:
        yield (
            f"camera.interval_seconds = {interval:g} is not less than decision.blind_seconds = "
            f"{decision.blind_seconds:g}; no two frames would count together. Raise the second"
        )


def _messages(config: Config) -> Iterator[str]:
    file = config.report.prometheus_file
    if file is not None and file.suffix != ".prom":
        yield (
            f"report.prometheus_file = {file} does not end in .prom, so node_exporter would not "
            "read it; give it that ending"
        )
    if config.images.send and config.outbox.max_bytes < 10 * config.images.max_bytes:
        yield (
            f"outbox.max_bytes = {config.outbox.max_bytes} holds fewer than ten pictures of "
            f"images.max_bytes = {config.images.max_bytes}; raise the first or lower the second"
        )
    if config.inbox.send and not config.inbox.keep:
        yield "inbox.send needs inbox.keep: only what is kept is sent; set inbox.keep = true"


def _update(update: Update) -> Iterator[str]:
    """What is wrong with settings of web servers."""
    if update.username is not None and update.password_file is None:
        yield "model.update.username has no password; set model.update.password_file"
    if update.password_file is not None and update.username is None:
        yield "model.update.password_file has no user name; set model.update.username"
    if update.token_file and update.password_file:
        yield "model.update.token_file and model.update.password_file are both set; keep one"
    if (update.token_file or update.password_file) and not (update.hosts or update.login_hosts):
        yield (
            "model.update.login_hosts is empty, so any server would get the password or "
            "token; name yours there or in model.update.hosts"
        )
    for setting, hosts in (("hosts", update.hosts), ("login_hosts", update.login_hosts)):
        for index, text in enumerate(hosts):
            try:
                pattern(text)
            except ValueError as error:
                yield f"model.update.{setting}[{index}] = {error}"


def _broker(broker: Broker) -> Iterator[str]:
    if broker.retry_min_seconds > broker.retry_max_seconds:
        yield (
            f"broker.retry_min_seconds = {broker.retry_min_seconds} is more than "
            f"broker.retry_max_seconds = {broker.retry_max_seconds}; lower the first"
        )
    if "/" in broker.host or "[" in broker.host or broker.host.count(":") == 1:  # IPv6 has more
        yield (
            f"broker.host = {broker.host!r} is not a name or address alone; the port goes into "
            "broker.port, and [broker.tls] encrypts"
        )
    if broker.password_file and broker.password_env:
        yield "broker.password_file and broker.password_env are both set; keep one"
    if broker.tls and (broker.tls.certificate is None) != (broker.tls.key is None):
        yield "broker.tls.certificate and broker.tls.key belong together; set both or none"


def _trigger(config: Config) -> Iterator[str]:
    """What windows lack, and what bursts and motion leave."""
    trigger = config.trigger
    points = [point for window in trigger.windows for point in (window.start, window.end)]
    if trigger.time_zone is None and any(point.sun is None for point in points):
        yield (
            'trigger.windows has times of day: set trigger.time_zone, such as "UTC" or "Asia/Dhaka"'
        )
    try:
        ZoneInfo(trigger.time_zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield (
            f'trigger.time_zone = "{trigger.time_zone}" is not known here; `timedatectl '
            "list-timezones` lists zones (apt install tzdata where there are none)"
        )
    placeless = config.device.location is None and not config.gps.enabled
    if placeless and any(point.sun for point in points):
        yield (
            "trigger.windows has sunrise or sunset: set device.location, where the camera stands, "
            "or gps.enabled"
        )
    if (motion := trigger.motion) and motion.min_area >= motion.max_area:
        yield (
            f"trigger.motion.min_area = {motion.min_area} is not below "
            f"trigger.motion.max_area = {motion.max_area}; nothing could ever move"
        )
    if (duty := trigger.duty) and duty.burst_seconds >= duty.every_seconds:
        yield (
            f"trigger.duty.burst_seconds = {duty.burst_seconds} leaves no rest within "
            f"trigger.duty.every_seconds = {duty.every_seconds}; lower the first, or leave "
            "[trigger.duty] out to work all the time"
        )


def _view(view: View) -> Iterator[str]:
    """Which regions and polygons have no inside."""
    for i, (left, top, right, bottom) in enumerate(view.regions):
        if left >= right or top >= bottom:
            yield (
                f"view.regions[{i}] = {[left, top, right, bottom]} is empty; give left, top, "
                "right, bottom with left < right and top < bottom"
            )
    for i, polygon in enumerate(view.mask_polygons):
        (x0, y0), *others = polygon
        (x1, y1) = max(others, key=lambda one: abs(one[0] - x0) + abs(one[1] - y0))
        if all(abs((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) < 1e-9 for x, y in others):
            yield (
                f"view.mask_polygons[{i}] has no area, its corners lie on one line; give three "
                "corners at least that do not"
            )
