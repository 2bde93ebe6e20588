"""What Home Assistant shows of a camera: one component each, as its MQTT platforms define them."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from edge.messages.base import Clock
from edge.text.printable import encoded

MOST_LABELS = 200
"""A model with more classes gets no counter for each; the total has them as attributes."""

Component = dict[str, Any]

_NO_STATES = ["unknown", "unavailable", "None"]
"""What Home Assistant takes for no value."""
_THROTTLED_NOW = ["under-voltage", "frequency-capped", "throttled", "soft-temperature-limit"]
_DIAGNOSTIC = {"entity_category": "diagnostic"}
_MEASURED = {"state_class": "measurement"}
_COUNTED = {"state_class": "total_increasing"}


class CameraFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the components depend on."""

    base: str
    """First parts of its topics: ``wheatear/cam-07``."""
    labels: tuple[str, ...]
    """Classes that can be sighted."""
    pictures: bool
    """It sends the picture behind a sighting."""
    located: bool
    """It says where it stands."""
    health_seconds: float
    """Seconds from one health message to the next."""
    updates: bool = False
    """It takes new models."""
    buttons: tuple[str, ...] = ()
    """Requests that it takes without a token."""


def components(camera: CameraFacts) -> dict[str, Component]:
    """All components, by a key that stays the same as long as the component does."""
    found = {
        **_sightings(camera),
        **_counts(camera),
        **_buttons(camera),
        **_problems(camera),
        **_health(camera),
    }
    if camera.pictures:
        # A picture comes on a topic of its own sighting; whichever came last is shown.
        found["picture"] = {
            "platform": "image",
            "name": "Picture",
            "image_topic": f"{camera.base}/sighting/+/image",
            "content_type": "image/jpeg",
            "qos": 1,
        }
    if camera.located:
        found["position"] = {
            "platform": "device_tracker",
            "name": "Position",
            "source_type": "gps",
            "json_attributes_topic": f"{camera.base}/info",
            # A receiver may have no fix yet.
            "json_attributes_template": "{% set at = value_json.location %}{{ ({'latitude': at.lat,"
            " 'longitude': at.lon, 'gps_accuracy': at.accuracy_metres or 0} if at else {})"
            " | tojson }}",
            **_DIAGNOSTIC,
        }
    if camera.updates:
        fields = ("title", "installed_version", "latest_version", "in_progress")
        told = ", ".join(f"'{one}': value_json.{one}" for one in (*fields, "update_percentage"))
        found["update"] = {
            "platform": "update",
            "name": "Model update",
            "state_topic": f"{camera.base}/update",
            "value_template": f"{{{{ {{{told}, 'release_summary':"
            " (value_json.reason or value_json.phase)[:255]} | tojson }}",
            "qos": 1,
            **_DIAGNOSTIC,
        }
    return found


def _sightings(camera: CameraFacts) -> dict[str, Component]:
    """What was seen last, and an event for each sighting, for automations."""
    state = f"{camera.base}/state"
    latest = "value_json.latest"
    label = _shown(f"{latest}.label") + (
        f" if {latest}.label else {latest}.reason | replace('unknown', 'not recognised')"
    )
    present = (
        "(value_json.present | map(attribute='label') | map('default', 'not recognised', true)"
        " | unique | join(', ') or 'nothing')[:255]"
    )
    return {
        "sighting": {
            "platform": "event",
            "name": "Sighting",
            "state_topic": f"{camera.base}/sighting",
            "event_types": ["single", "begin", "update", "end"],
            "value_template": "{{ dict(value_json, event_type=value_json.phase | default('single'))"
            " | tojson }}",
            "icon": "mdi:bug",
            "qos": 1,
        },
        "latest": _sensor(state, "Last sighting", f"({label}) if {latest} else none")
        | {
            "json_attributes_topic": state,
            "json_attributes_template": f"{{{{ ({latest} or {{}}) | tojson }}}}",
            "icon": "mdi:bug",
        },
        "present": _sensor(state, "There now", _shown(present))
        | {
            "json_attributes_topic": state,
            "json_attributes_template": "{{ {'present': value_json.present} | tojson }}",
            "icon": "mdi:binoculars",
        },
        "confidence": _sensor(
            state, "Confidence", f"({latest}.confidence * 100) | round(1) if {latest} else none"
        )
        | {"unit_of_measurement": "%", "suggested_display_precision": 0, "icon": "mdi:percent"}
        | _MEASURED,
        "latest_time": _sensor(
            state, "Last sighting at", f"{latest}.time if {latest} else none", "timestamp"
        ),
    }


def _counts(camera: CameraFacts) -> dict[str, Component]:
    """Sightings since midnight where Home Assistant is, by the counts per hour of UTC."""
    state = f"{camera.base}/state"
    hours = "value_json.hours if as_datetime(hour.hour) >= today_at()"
    total = (
        f"{{% set n = namespace(all=0) %}}{{% for hour in {hours} %}}"
        "{% set n.all = n.all + hour.labels.values() | sum %}{% endfor %}{{ n.all }}"
    )
    each = (
        f"{{% set n = namespace(all={{}}) %}}{{% for hour in {hours} %}}"
        "{% for label, count in hour.labels.items() %}"
        "{% set n.all = dict(n.all, **{label: n.all.get(label, 0) + count}) %}"
        "{% endfor %}{% endfor %}{{ n.all | tojson }}"
    )
    found = {
        "today": {
            "platform": "sensor",
            "name": "Sightings today",
            "state_topic": state,
            "value_template": total,
            "json_attributes_topic": state,
            "json_attributes_template": each,
            "icon": "mdi:counter",
            "qos": 1,
            **_COUNTED,
        }
    }
    labels = camera.labels if len(camera.labels) <= MOST_LABELS else ()
    for label in (*labels, "") if labels else ():
        name = label.replace("_", " ").capitalize() if label else "Not recognised"
        found[f"today_{label}"] = found["today"] | {
            "name": f"{name} today",
            "value_template": f"{{% set n = namespace(all=0) %}}{{% for hour in {hours} %}}"
            f"{{% set n.all = n.all + hour.labels.get({quoted(label)}, 0) %}}"
            "{% endfor %}{{ n.all }}",
            "icon": "mdi:bug",
        }
        del found[f"today_{label}"]["json_attributes_topic"]
        del found[f"today_{label}"]["json_attributes_template"]
    return found


def _buttons(camera: CameraFacts) -> dict[str, Component]:
    """Requests as buttons; the template gives each press a transaction of its own."""
    found: dict[str, Component] = {}
    looks = {
        "capture": {"name": "Look now", "icon": "mdi:camera"},
        "restart": {"name": "Restart", "device_class": "restart", "entity_category": "config"},
    }
    for verb in [one for one in looks if one in camera.buttons]:
        found[verb] = looks[verb] | {
            "platform": "button",
            "command_topic": f"{camera.base}/request/{verb}",
            "command_template": "{{ {'transaction': 'ha-' ~ now().timestamp(),"
            " 'sent': (now().timestamp() * 1000) | int} | tojson }}",
            "qos": 1,
        }
    if "capture" in found:
        answer = f"{camera.base}/response/capture"
        first = "(value_json.data.findings if value_json.data else []) | first | default({}, true)"
        found["captured"] = _sensor(
            answer,
            "Last look",
            f"(value_json.error.kind if value_json.error else ({first}).get('label')"
            " or 'nothing recognised')",
        ) | {
            "json_attributes_topic": answer,
            "json_attributes_template": "{{ dict(value_json.data or value_json.error, image=none)"
            " | tojson }}",
            "icon": "mdi:eye",
        }
    return found


def _problems(camera: CameraFacts) -> dict[str, Component]:
    """What stands in the retained messages about the device itself."""
    state, info = f"{camera.base}/state", f"{camera.base}/info"
    return {
        "problem": {
            "platform": "binary_sensor",
            "name": "Problem",
            "device_class": "problem",
            "state_topic": state,
            "value_template": "{{ 'OFF' if value_json.health.ok else 'ON' }}",
            "json_attributes_topic": state,
            "json_attributes_template": "{{ {'problems': value_json.health.problems} | tojson }}",
            "qos": 1,
            **_DIAGNOSTIC,
        },
        "waiting": _sensor(state, "Messages waiting", "value_json.health.waiting")
        | {"icon": "mdi:tray-full"}
        | _MEASURED
        | _DIAGNOSTIC,
        "model": _sensor(info, "Model", "value_json.model.name ~ ' ' ~ value_json.model.version")
        | {
            "json_attributes_topic": info,
            "json_attributes_template": "{{ value_json.model | tojson }}",
            "icon": "mdi:brain",
        }
        | _DIAGNOSTIC,
        "started": _sensor(info, "Started", "value_json.started", "timestamp") | _DIAGNOSTIC,
    }


def _health(camera: CameraFacts) -> dict[str, Component]:
    """What the health messages measure; after three that did not come, the values are unknown."""
    topic = f"{camera.base}/health"
    celsius = {"unit_of_measurement": "°C", "suggested_display_precision": 1}
    megabytes = {"unit_of_measurement": "MB", "suggested_display_precision": 0}
    gigabytes = {"unit_of_measurement": "GB", "suggested_display_precision": 1}
    milliseconds = {"unit_of_measurement": "ms", "suggested_display_precision": 1}
    seconds = {"unit_of_measurement": "s", "suggested_display_precision": 0}
    found = {
        "temperature": _sensor(topic, "Temperature", "value_json.temperature_celsius")
        | {"device_class": "temperature", **celsius, **_MEASURED},
        "memory": _sensor(topic, "Memory available", _share("memory_available_bytes", 1e6))
        | {"device_class": "data_size", **megabytes, **_MEASURED},
        "disk": _sensor(topic, "Disk free", _share("disk_free_bytes", 1e9))
        | {"device_class": "data_size", **gigabytes, **_MEASURED},
        "invoke": _sensor(topic, "Inference time", "value_json.milliseconds.invoke")
        | {"device_class": "duration", **milliseconds, **_MEASURED},
        "lost": _sensor(topic, "Sightings lost", "value_json.outbox.dropped_sightings")
        | {"icon": "mdi:tray-remove", **_COUNTED},
        "frames": _sensor(topic, "Pictures", "value_json.frames.classified")
        | {"icon": "mdi:camera", "enabled_by_default": False, **_COUNTED},
        "drift": _sensor(topic, "Drift", "value_json.drift")
        | {"icon": "mdi:chart-bell-curve", "suggested_display_precision": 2, **_MEASURED},
        "signal": _sensor(
            topic, "Signal", "value_json.link.signal_dbm if value_json.link else none"
        )
        | {"device_class": "signal_strength", "unit_of_measurement": "dBm", **_MEASURED},
        "oldest": _sensor(topic, "Oldest message waiting", "value_json.outbox.oldest_seconds or 0")
        | {"device_class": "duration", **seconds, **_MEASURED},
        "power_losses": _sensor(topic, "Power losses", "value_json.program.power_losses")
        | {"icon": "mdi:power-plug-off", **_COUNTED},
        "clock": _sensor(topic, "Clock", "value_json.clock", "enum")
        | {"options": list(get_args(Clock))},
        "throttled": {
            "platform": "binary_sensor",
            "name": "Power or heat",
            "device_class": "problem",
            "state_topic": topic,
            "value_template": "{{ none if value_json.throttled is none else 'ON' if"
            f" value_json.throttled | select('in', {_THROTTLED_NOW}) | list else 'OFF' }}}}",
            "json_attributes_topic": topic,
            "json_attributes_template": "{{ {'flags': value_json.throttled or []} | tojson }}",
        },
    }
    expiry = {"expire_after": int(3 * camera.health_seconds) + 60}
    return {key: component | expiry | _DIAGNOSTIC for key, component in found.items()}


def _sensor(topic: str, name: str, value: str, device_class: str | None = None) -> Component:
    """A sensor that shows the value of a Jinja expression."""
    sensor: Component = {
        "platform": "sensor",
        "name": name,
        "state_topic": topic,
        "value_template": f"{{{{ {value} }}}}",
        "qos": 1,
    }
    return sensor | {"device_class": device_class} if device_class else sensor


def _shown(text: str) -> str:
    """The expression that shows a text as a state, also for a class whose name Home Assistant uses
    for a sensor without a value."""
    return f"('class ' ~ {text} if {text} in {_NO_STATES} else {text})"


def _share(field: str, unit: float) -> str:
    """The expression for a number of bytes in larger units, none where it is null."""
    value = f"value_json.{field}"
    return f"none if {value} is none else ({value} / {unit:.0f}) | round(3)"


def quoted(text: str) -> str:
    r"""A Jinja string literal; JSON's escapes (``\"``, ``\\``, ``\n``, ...) mean the same."""
    return encoded(text).decode()
