"""Which settings a request may change. Whatever is not listed here is changed at the device only.

What decides where the device sends something and how openly, which files it reads and writes, who
may ask for what, and what a model is checked with stays with whoever can touch the device: a
request that changes ``broker.host`` would have it show its password to whoever sent that.
"""

from __future__ import annotations

from edge.config import Config, settings
from edge.errors import RequestDeniedError

FREE = frozenset(
    [
        "device.name",
        "device.location",
        "device.location.lat",
        "device.location.lon",
        "device.location.alt",
        "model.runtime",
        "model.threads",
        "model.update.keep",
        "model.update.download_seconds",
        "model.update.least_bytes_per_second",
        "model.update.least_window_seconds",
        "model.update.upload_seconds",
        "model.update.max_bytes",
        "model.update.timeout_seconds",
        "model.update.attempts",
        "model.update.proof_seconds",
        "model.update.proof_bytes",
        "model.update.starts",
        "model.update.frames",
        "model.update.seconds",
        "model.update.rate",
        "model.update.hang_seconds",
        "camera.frames_per_second",
        "camera.loop",
        "camera.time",
        "camera.order",
        "camera.index",
        "camera.width",
        "camera.height",
        "camera.interval_seconds",
        "camera.warm_up_seconds",
        "camera.rotation",
        "camera.focus_metres",
        "camera.exposure_microseconds",
        "camera.format",
        "camera.timeout_seconds",
        "view.regions",
        "view.tiles",
        "view.overlap",
        "view.mask_polygons",
        "view.max_masked",
        "trigger.windows",
        "trigger.time_zone",
        "trigger.duty",
        "trigger.duty.every_seconds",
        "trigger.duty.burst_seconds",
        "trigger.duty.burst_frames",
        "trigger.motion",
        "trigger.motion.threshold",
        "trigger.motion.min_area",
        "trigger.motion.max_area",
        "trigger.motion.hold_seconds",
        "trigger.motion.max_per_minute",
        "decision.mode",
        "decision.agreeing_frames",
        "decision.last_frames",
        "decision.cooldown_seconds",
        "decision.stay_share",
        "decision.update_seconds",
        "decision.blind_seconds",
        "decision.report_unknown",
        "decision.background",
        "decision.thresholds",
        "outbox.commit_seconds",
        "broker.acknowledge_seconds",
        "broker.keepalive_seconds",
        "broker.timeout_seconds",
        "broker.window",
        "broker.retry_min_seconds",
        "broker.retry_max_seconds",
        "broker.historical_after_seconds",
        "broker.clock_wait_seconds",
        "images.max_bytes",
        "images.max_side",
        "images.crop",
        "images.max_bytes_per_day",
        "inbox.max_bytes",
        "inbox.min_free_bytes",
        "inbox.below_confidence",
        "inbox.disagree_seconds",
        "inbox.random_share",
        "inbox.spacing_seconds",
        "inbox.thumbnail_bytes",
        "inbox.thumbnail_side",
        "inbox.max_bytes_per_day",
        "drift.measure",
        "drift.half_life_frames",
        "drift.min_frames",
        "report.health_seconds",
        "report.state_seconds",
        "report.prometheus_seconds",
        "report.stall_seconds",
        "gps.max_age_seconds",
        "homeassistant.enabled",
    ]
)
"""May be changed."""
PICTURES = frozenset({"images.send", "inbox.keep", "inbox.send"})
"""May be changed where ``requests.pictures`` is set; switched off always."""
HELD = {
    "device.id": "it is part of every topic",
    "model.bundle": "it names a file",
    "model.tflite": "it names a file",
    "model.labels": "it names a file",
    **dict.fromkeys(
        ("model.mean", "model.std", "model.crop", "model.background", "model.output"),
        "it belongs to the model's file",
    ),
    "model.trusted_keys": "models are checked with it",
    "model.self_test": "models are checked with it",
    "model.name": "it decides which models are taken",
    "model.store": "it names a folder",
    "model.update.unsigned": "models are checked with it",
    "model.update.hosts": "it decides where models come from",
    "model.update.plain_http": "it decides how openly models come",
    "model.update.ca": "it decides where models come from",
    "model.update.username": "it goes with the password",
    "model.update.password_file": "it names a file",
    "model.update.token_file": "it names a file",
    "model.update.login_hosts": "it decides who gets the password",
    "camera.kind": "it is another camera",
    "camera.path": "it names files",
    "camera.device": "it names a file",
    "view.mask": "it names a file",
    "trigger.wake_file": "it names a file",
    "outbox.path": "it names a file",
    "outbox.max_bytes": "a smaller one drops sightings that wait",
    "outbox.max_dead_letter_bytes": "a smaller one drops sightings that were set aside",
    "broker.host": "it decides who gets the password and the sightings",
    "broker.port": "it decides who gets the password and the sightings",
    "broker.protocol": "it decides how the password is sent",
    "broker.username": "it goes with the password",
    "broker.password_file": "it names a file",
    "broker.password_env": "it names a secret",
    "broker.base_topic": "it is part of every topic",
    "broker.tls": "it decides how openly the password is sent",
    "broker.tls.ca": "it decides who gets the password",
    "broker.tls.certificate": "it names a file",
    "broker.tls.key": "it names a file",
    "inbox.folder": "it names a folder",
    "requests.allow": "it decides what may be asked",
    "requests.token_file": "it decides who may ask",
    "requests.unnumbered": "it decides what may be asked",
    "requests.pictures": "it decides what leaves the device",
    "requests.details": "it decides what leaves the device",
    "requests.max_bytes": "it limits the load that others may cause",
    "requests.per_second": "it limits the load that others may cause",
    "requests.confirm_seconds": "it takes back what does not work",
    "report.prometheus_file": "it names a file",
    "gps.enabled": "it decides whether the place is told",
    "gps.host": "it decides who is asked for the place",
    "gps.port": "it decides who is asked for the place",
    "gps.device": "it names a file",
    "homeassistant.discovery_prefix": "it is part of a topic",
}
"""May not, and why. What is in no list may not either."""


_ABSENT = object()


def check_afar(before: Config, after: Config) -> None:
    """See that only what a request may change differs. Raises RequestDeniedError."""
    old, new = dict(settings(before)), dict(settings(after))
    for path in {**old, **new}:
        if old.get(path, _ABSENT) == new.get(path, _ABSENT) or path in FREE:
            continue
        if path in PICTURES:
            if before.requests.pictures or not new[path]:
                continue
            raise RequestDeniedError(
                f"{path} lets pictures leave the device; a request may set it where the file on "
                "the device says requests.pictures = true"
            )
        why = HELD.get(path, "it is not among those that a request may change")
        raise RequestDeniedError(f"{path} can be changed only in the file on the device: {why}")
