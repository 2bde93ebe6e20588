"""Checks of what no single setting shows. All raise ConfigError."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge.config.broker import Broker
from edge.config.camera import View
from edge.config.hosts import pattern
from edge.config.model import Model, Update
from edge.config.whole import Config
from edge.errors import ConfigError


def check_together(config: Config, name: str) -> None:
    """Check what no single setting shows."""
    decision, broker, model = config.decision, config.broker, config.model
    if (model.bundle is None) == (model.tflite is None):
        raise ConfigError(
            f"{name}: set one of model.bundle (a .wtr file) and model.tflite (a model from "
            f"elsewhere), not {'neither' if model.bundle is None else 'both'}"
        )
    for setting in ("labels", "mean", "std", "crop", "background", "output"):
        if not model.tflite and getattr(model, setting) != getattr(Model(), setting):
            raise ConfigError(
                f"{name}: model.{setting} goes with model.tflite; a bundle has its own"
            )
    if bool(model.mean) != bool(model.std):
        raise ConfigError(f"{name}: model.mean and model.std belong together; set both or none")
    if model.store and not model.bundle:
        raise ConfigError(
            f"{name}: model.store needs model.bundle, which is used when all else fails"
        )
    if decision.agreeing_frames > decision.last_frames:
        raise ConfigError(
            f"{name}: decision.agreeing_frames = {decision.agreeing_frames} is more than "
            f"decision.last_frames = {decision.last_frames}; no frame could ever agree often "
            "enough. Lower the first or raise the second"
        )
    interval = getattr(config.camera, "interval_seconds", 0.0)
    if decision.mode == "visits" and interval >= decision.blind_seconds:
        raise ConfigError(
            f"{name}: camera.interval_seconds = {interval:g} is not less than "
            f"decision.blind_seconds = {decision.blind_seconds:g}; no two frames would count "
            "together. Raise the second"
        )
    check_view(config.view, name)
    file = config.report.prometheus_file
    if file is not None and file.suffix != ".prom":
        raise ConfigError(
            f"{name}: report.prometheus_file = {file} does not end in .prom, so node_exporter "
            "would not read it; give it that ending"
        )
    if config.images.send and config.outbox.max_bytes < 10 * config.images.max_bytes:
        raise ConfigError(
            f"{name}: outbox.max_bytes = {config.outbox.max_bytes} holds fewer than ten pictures "
            f"of images.max_bytes = {config.images.max_bytes}; raise the first or lower the second"
        )
    if config.inbox.send and not config.inbox.keep:
        raise ConfigError(
            f"{name}: inbox.send needs inbox.keep: only what is kept is sent; set inbox.keep = true"
        )
    check_broker(broker, name)
    check_update(model.update, name)


def check_update(update: Update, name: str) -> None:
    """Check settings of web servers that go together."""
    if update.username is not None and update.password_file is None:
        raise ConfigError(
            f"{name}: model.update.username has no password; set model.update.password_file"
        )
    if update.password_file is not None and update.username is None:
        raise ConfigError(
            f"{name}: model.update.password_file has no user name; set model.update.username"
        )
    if update.token_file and update.password_file:
        raise ConfigError(
            f"{name}: model.update.token_file and model.update.password_file are both set; keep one"
        )
    if (update.token_file or update.password_file) and not (update.hosts or update.login_hosts):
        raise ConfigError(
            f"{name}: model.update.login_hosts is empty, so any server would get the password or "
            "token; name yours there or in model.update.hosts"
        )
    for setting, hosts in (("hosts", update.hosts), ("login_hosts", update.login_hosts)):
        for index, text in enumerate(hosts):
            try:
                pattern(text)
            except ValueError as error:
                raise ConfigError(f"{name}: model.update.{setting}[{index}] = {error}") from error


def check_broker(broker: Broker, name: str) -> None:
    """Check settings of the broker that go together."""
    if broker.retry_min_seconds > broker.retry_max_seconds:
        raise ConfigError(
            f"{name}: broker.retry_min_seconds = {broker.retry_min_seconds} is more than "
            f"broker.retry_max_seconds = {broker.retry_max_seconds}; lower the first"
        )
    if "/" in broker.host or "[" in broker.host or broker.host.count(":") == 1:  # IPv6 has more
        raise ConfigError(
            f"{name}: broker.host = {broker.host!r} is not a name or address alone; the port goes "
            "into broker.port, and [broker.tls] encrypts"
        )
    if broker.password_file and broker.password_env:
        raise ConfigError(
            f"{name}: broker.password_file and broker.password_env are both set; keep one"
        )
    if broker.tls and (broker.tls.certificate is None) != (broker.tls.key is None):
        raise ConfigError(
            f"{name}: broker.tls.certificate and broker.tls.key belong together; set both or none"
        )


def check_trigger(config: Config, name: str) -> None:
    """Check what windows need, and what bursts and motion leave."""
    trigger = config.trigger
    points = [point for window in trigger.windows for point in (window.start, window.end)]
    if trigger.time_zone is None and any(point.sun is None for point in points):
        raise ConfigError(
            f'{name}: trigger.windows has times of day: set trigger.time_zone, such as "UTC" or '
            '"Asia/Dhaka"'
        )
    try:
        ZoneInfo(trigger.time_zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f'{name}: trigger.time_zone = "{trigger.time_zone}" is not known here; '
            "`timedatectl list-timezones` lists zones (apt install tzdata where there are none)"
        ) from error
    placeless = config.device.location is None and not config.gps.enabled
    if placeless and any(point.sun for point in points):
        raise ConfigError(
            f"{name}: trigger.windows has sunrise or sunset: set device.location, where the camera "
            "stands, or gps.enabled"
        )
    if (motion := trigger.motion) and motion.min_area >= motion.max_area:
        raise ConfigError(
            f"{name}: trigger.motion.min_area = {motion.min_area} is not below "
            f"trigger.motion.max_area = {motion.max_area}; nothing could ever move"
        )
    if (duty := trigger.duty) and duty.burst_seconds >= duty.every_seconds:
        raise ConfigError(
            f"{name}: trigger.duty.burst_seconds = {duty.burst_seconds} leaves no rest within "
            f"trigger.duty.every_seconds = {duty.every_seconds}; lower the first, or leave "
            "[trigger.duty] out to work all the time"
        )


def check_view(view: View, name: str) -> None:
    """Check that every region and every polygon has an inside. Raises ConfigError."""
    for i, (left, top, right, bottom) in enumerate(view.regions):
        if left >= right or top >= bottom:
            raise ConfigError(
                f"{name}: view.regions[{i}] = {[left, top, right, bottom]} is empty; give left, "
                "top, right, bottom with left < right and top < bottom"
            )
    for i, polygon in enumerate(view.mask_polygons):
        (x0, y0), *others = polygon
        (x1, y1) = max(others, key=lambda one: abs(one[0] - x0) + abs(one[1] - y0))
        if all(abs((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) < 1e-9 for x, y in others):
            raise ConfigError(
                f"{name}: view.mask_polygons[{i}] has no area, its corners lie on one line; give "
                "three corners at least that do not"
            )
