"""Health as a text file for the textfile collector of Prometheus' node_exporter.

Names and units after Prometheus' rules (base units, ``_total`` for counters); the format is its
text exposition format 0.0.4. What a machine lacks is left out.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Self

from edge import __version__
from edge.config import Report
from edge.messages.health import Health, Spreads
from edge.system.counters import Counters, Episode

log = logging.getLogger(__name__)

Total = Callable[[str], tuple[int, float]]
"""Returns how often something was timed since the start, and the sum in milliseconds."""


class Sample(NamedTuple):
    """One line: what is put behind the metric's name, labels, value."""

    value: float | None
    labels: Mapping[str, str] = {}
    suffix: str = ""


class Metric(NamedTuple):
    """A metric with its samples; those that are None are left out."""

    name: str
    kind: str
    help: str
    samples: tuple[Sample, ...]


def text(health: Health, model: str, total: Total) -> str:
    """The whole file for a health message."""
    lines = []
    for metric in metrics(health, model, total):
        samples = [sample for sample in metric.samples if sample.value is not None]
        if samples:
            name = f"wheatear_{metric.name}"
            lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}"]
            lines += [_line(name, health.device, sample) for sample in samples]
    return "\n".join(lines) + "\n"


def metrics(health: Health, model: str, total: Total) -> Iterator[Metric]:
    """Yield all metrics of a health message."""
    frames, outbox, broker, clock = health.frames, health.outbox, health.broker, health.clock_health
    yield _one("info", "gauge", "Software and model.", 1, version=__version__, model=model)
    yield _one("uptime_seconds", "gauge", "Since the program started.", health.uptime_seconds)
    yield _by("frames_total", "Frames since the start, by what became of them.", "what", {
        name: getattr(frames, name) for name in frames.__struct_fields__
    })  # fmt: skip
    yield _one("sightings_total", "counter", "Written to disk since the start.", outbox.sightings)
    yield _one("outbox_messages", "gauge", "Messages on disk, not acknowledged.", outbox.waiting)
    yield _one("outbox_bytes", "gauge", "Their bytes.", outbox.bytes)
    yield _one("outbox_oldest_seconds", "gauge", "Age of the oldest one.", outbox.oldest_seconds)
    yield _by("outbox_dropped_total", "Dropped for lack of disk space, by kind.", "kind", {
        "image": outbox.dropped_images,
        "health": outbox.dropped_health,
        "sighting": outbox.dropped_sightings,
    })  # fmt: skip
    yield _one("broker_connects_total", "counter", "Connections made.", broker.connects)
    yield _one("broker_failures_total", "counter", "Connections failed.", broker.failures)
    yield _one("broker_denied_total", "counter", "Publishes denied.", broker.denied)
    yield _one("delivered_total", "counter", "Messages acknowledged.", broker.delivered)
    yield _by("errors_total", "Errors since the start, by class.", "class", health.errors)
    yield _one("starts_total", "counter", "Starts of the program.", health.program.starts)
    yield _by("unclean_ends_total", "Runs that did not end in good order, by cause.", "cause", {
        "program": health.program.unclean_ends,
        "power": health.program.power_losses,
    })  # fmt: skip
    yield _one("stalls_total", "counter", "Times when frames stopped.", health.program.stalls)
    yield _one("camera_asleep", "gauge", "1: it rests as planned.", int(health.asleep is not None))
    yield _one("clock_synced", "gauge", "1: the clock is synced.", int(health.clock == "synced"))
    yield _by("clock_error_seconds", "Error of the clock.", "bound", {
        "estimated": clock.estimated_error_seconds,
        "max": clock.max_error_seconds,
    }, "gauge")  # fmt: skip
    yield _one("clock_steps_total", "counter", "Jumps of the clock.", clock.steps)
    yield _one("temperature_celsius", "gauge", "Of the processor.", health.temperature_celsius)
    throttled = dict.fromkeys(health.throttled, 1) if health.throttled is not None else {}
    yield _by("throttled", "1 for each throttling flag that is set.", "flag", throttled, "gauge")
    yield _one(
        "memory_available_bytes", "gauge", "Available memory.", health.memory_available_bytes
    )
    yield _one("resident_memory_bytes", "gauge", "Of this program.", health.process_bytes)
    yield _one("disk_free_bytes", "gauge", "On the outbox's disk.", health.disk_free_bytes)
    if health.link is not None:
        yield _one(
            "link_signal_dbm",
            "gauge",
            "Radio signal of the default route's interface.",
            health.link.signal_dbm,
            interface=health.link.interface,
        )
    for name, what in _TIMES.items():
        yield _summary(name, what, health.spreads, total)


_TIMES = {
    "frame": "Dealing with a frame",
    "preprocess": "Preprocessing a frame",
    "invoke": "Inference of a frame",
    "puback": "From publishing to its PUBACK",
}


def _summary(name: str, what: str, spreads: Spreads, total: Total) -> Metric:
    """Quantiles are of the last round of health; sum and count since the start."""
    spread, (count, milliseconds) = getattr(spreads, name), total(name)
    quantiles = (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"), ("1", "max"))
    samples = [
        Sample(round(getattr(spread, field) / 1e3, 6), {"quantile": quantile})
        for quantile, field in quantiles
        if spread is not None
    ]
    samples += [Sample(round(milliseconds / 1e3, 6), {}, "_sum"), Sample(count, {}, "_count")]
    help_ = f"{what}; quantiles between the last two health messages."
    return Metric(f"{name}_seconds", "summary", help_, tuple(samples))


def _one(name: str, kind: str, help_: str, value: float | None, **labels: str) -> Metric:
    return Metric(name, kind, help_, (Sample(value, labels),))


def _by(
    name: str, help_: str, label: str, values: Mapping[str, float | None], kind: str = "counter"
) -> Metric:
    return Metric(
        name, kind, help_, tuple(Sample(value, {label: key}) for key, value in values.items())
    )


def _line(name: str, device: str, sample: Sample) -> str:
    labels = ",".join(
        f'{key}="{_escaped(value)}"' for key, value in {"device": device, **sample.labels}.items()
    )
    return f"{name}{sample.suffix}{{{labels}}} {sample.value}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class Exporter:
    """Writes the file every few seconds, from a thread of its own; whole, or not at all."""

    def __init__(
        self,
        config: Report,
        health: Callable[[], Health],
        model: Callable[[], str],
        counters: Counters,
    ) -> None:
        self._path, self._seconds = config.prometheus_file, config.prometheus_seconds
        self._health, self._model, self._counters = health, model, counters
        self._trouble = Episode("report.prometheus_file", counters, log)
        self._stop = threading.Event()
        self._thread = counters.crew.worker("prometheus", self._run, self._stop.is_set)

    def __enter__(self) -> Self:
        if self._path is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def write(self) -> None:
        """Write it once."""
        assert self._path is not None
        # Beside it, under a name that the collector (*.prom) does not read.
        temporary = self._path.with_name(f"{self._path.name}.new")
        with self._trouble.over(OSError):
            temporary.write_text(
                text(self._health(), self._model(), self._counters.total),
                encoding="utf-8",
                errors="backslashreplace",
            )
            os.chmod(temporary, 0o644)  # node_exporter runs as another user
            os.replace(temporary, self._path)

    def _run(self) -> None:
        while True:
            try:
                self.write()
            except Exception as error:  # a bug must not end the reporting for good
                log.exception("the Prometheus file failed; it goes on")
                self._trouble.failed(error)
            if self._stop.wait(self._seconds):
                return
