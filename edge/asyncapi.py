"""One AsyncAPI 3 document of everything that goes over MQTT, made from the table of topics.

``send`` and ``receive`` are seen from the device. Payload schemas are those of
:mod:`edge.messages`, written in JSON Schema draft 07, which is what AsyncAPI's own are.
"""

from __future__ import annotations

import re
from typing import Any, get_args

import msgspec

from edge import __version__
from edge.config import Verb
from edge.messages import PAYLOADS, encode
from edge.topics import EXAMPLES, TOPICS, Topic

Object = dict[str, Any]

_BINDING = "0.2.0"
_MORE: dict[str, Object] = {
    "availability": {"enum": ["online", "offline"]},
    "<prefix>/device/<name>/config": {"required": ["device", "origin", "components"]},
    "request/<verb>": {
        "properties": {
            "transaction": {"type": "string", "minLength": 1, "maxLength": 64},
            "token": {"type": "string"},
        },
        "required": ["transaction"],
    },
}
"""What else is known of payloads that have no struct, by the topic's suffix."""

_PARAMETERS: dict[str, Object] = {
    "base": {
        "description": "`broker.base_topic` of the configuration.",
        "default": "wheatear",
    },
    "prefix": {
        "description": "`homeassistant.discovery_prefix` of the configuration.",
        "default": "homeassistant",
    },
    "device": {"description": "`device.id` of the configuration."},
    "id": {"description": "The `id` of the message that this goes with."},
    "verb": {
        "description": "What is asked for; `requests.allow` lists what a device does.",
        "enum": list(get_args(Verb)),
    },
    "name": {"description": "The device's name within Home Assistant."},
}


def document() -> Object:
    """Give the document."""
    _, schemas = msgspec.json.schema_components(
        PAYLOADS, ref_template="#/components/schemas/{name}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Wheatear",
            "version": __version__,
            "description": "A field camera that classifies on the spot. docs/topics.md has the "
            "rules of delivery: at least once, in order, de-duplicated by `id`.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {_key(topic): _channel(topic) for topic in TOPICS},
        "operations": {_key(topic): _operation(topic) for topic in TOPICS if not topic.answers},
        "components": {
            "messages": {_message_key(topic): _message(topic) for topic in TOPICS},
            "schemas": {name: draft_07(schema) for name, schema in schemas.items()},
        },
    }


def _key(topic: Topic) -> str:
    """Give the name of a channel and its operation: ``sighting_id_image``."""
    return re.sub(r"[^a-z]+", "_", topic.suffix.lower()).strip("_")


def _channel(topic: Topic) -> Object:
    address = re.sub(r"<(\w+)>", r"{\1}", topic.address)
    reference = {"$ref": f"#/components/messages/{_message_key(topic)}"}
    return {
        "address": address,
        "description": topic.what,
        "parameters": {name: _PARAMETERS[name] for name in re.findall(r"{(\w+)}", address)},
        "messages": {_message_key(topic): reference},
    }


def _operation(topic: Topic) -> Object:
    """Give what the device does there; a request has the channel of its answer."""
    operation: Object = {
        "action": "receive" if topic.asks else "send",
        "channel": {"$ref": f"#/channels/{_key(topic)}"},
        "summary": topic.what,
        "bindings": {
            "mqtt": {"qos": topic.qos, "retain": topic.retained, "bindingVersion": _BINDING}
        },
    }
    if topic.asks:
        reply = next(one for one in TOPICS if one.answers)
        operation["reply"] = {"channel": {"$ref": f"#/channels/{_key(reply)}"}}
    return operation


def _message_key(topic: Topic) -> str:
    return topic.payload if topic.described else _key(topic)


def _message(topic: Topic) -> Object:
    if topic.described:
        example = msgspec.json.decode(encode(EXAMPLES[topic.payload]))
        message: Object = {
            "payload": {"$ref": f"#/components/schemas/{topic.payload}"},
            "examples": [{"payload": example}],
        }
    elif topic.payload == "JPEG":
        message = {
            "contentType": "image/jpeg",
            "payload": {"type": "string", "contentMediaType": "image/jpeg"},
        }
    elif topic.payload == "text":
        message = {
            "contentType": "text/plain",
            "payload": {"type": "string", **_MORE.get(topic.suffix, {})},
        }
    else:
        message = {"payload": {"type": "object", **_MORE.get(topic.suffix, {})}}
    if topic.asks or topic.answers:
        message["correlationId"] = {"location": "$message.payload#/transaction"}
    return {"name": _message_key(topic), **message}


def draft_07(schema: Any) -> Any:  # noqa: ANN401 (any JSON)
    """Give a schema of draft 2020-12, as msgspec writes it, in draft 07: tuples differ."""
    if isinstance(schema, list):
        return [draft_07(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: draft_07(value) for key, value in schema.items() if key != "prefixItems"}
    if "prefixItems" in schema:
        found["additionalItems"] = found.pop("items", True)
        found["items"] = draft_07(schema["prefixItems"])
    return found
