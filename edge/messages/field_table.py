"""The fields of a struct as a table of Markdown, for the documents made from the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from edge.messages.payloads import PAYLOADS

_SECTIONS = {struct.__name__ for struct in PAYLOADS}
"""What has a heading of its own in ``docs/topics.md``, where links lead instead."""
_HEXADECIMAL = re.compile(r"\^\[0-9a-f\]\{(\d+)\}\$\(\?!\\n\)")


def fields(struct: type[msgspec.Struct], topics: str = "") -> list[str]:
    """A line for every field that is received, with those of the structs in it.

    `topics` is the path of ``docs/topics.md`` as seen from the page; empty: it is that page.
    """
    definitions: dict[str, Any] = msgspec.json.schema(struct)["$defs"]
    return [
        "| field | type | what |",
        "|---|---|---|",
        *_fields(definitions, struct.__name__, "", topics),
    ]


def parameters(struct: type[msgspec.Struct]) -> list[str]:
    """A line for every field that is sent: with its bounds, and its default."""
    about = msgspec.json.schema(struct)["$defs"][struct.__name__]
    return [
        "| parameter | type | default | what |",
        "|---|---|---|---|",
        *(
            f"| `{name}` | {_bounded(field)} | {_default(field)} | {field.get('description', '')} |"
            for name, field in about["properties"].items()
        ),
    ]


def _fields(definitions: dict[str, Any], name: str, prefix: str, topics: str) -> Iterator[str]:
    for field, about in definitions[name]["properties"].items():
        inner = _reference(about)
        text = about.get("description") or (definitions[inner]["description"] if inner else "")
        text = text.partition("\n")[0]
        yield f"| `{prefix}{field}` | {_type(about, topics)} | {text} |"
        if inner and inner not in _SECTIONS:
            many = {"array": "[]", "object": ".<name>"}.get(about.get("type", ""), "")
            yield from _fields(definitions, inner, f"{prefix}{field}{many}.", topics)


def _reference(about: dict[str, Any]) -> str | None:
    """The name of the struct that a field holds, alone, in a list, by names or beside null."""
    inside = [about.get("items"), about.get("additionalProperties"), *about.get("anyOf", [])]
    for one in [about, *inside]:
        if isinstance(one, dict) and "$ref" in one:
            return str(one["$ref"]).rsplit("/", 1)[-1]
    return None


def _type(about: dict[str, Any], topics: str = "") -> str:
    if "anyOf" in about:
        return " or ".join(_type(one, topics) for one in about["anyOf"])
    if "enum" in about:
        return ", ".join("null" if one is None else f"`{one}`" for one in about["enum"])
    if "$ref" in about:
        name = str(about["$ref"]).rsplit("/", 1)[-1]
        return f"[{name}]({topics}#{name.lower()})" if name in _SECTIONS else "object"
    kind = about.get("format") or about.get("type", "any")
    if kind == "array":
        items = about.get("items")
        inner = about["prefixItems"][0] if "prefixItems" in about else items
        return f"list of {_type(inner, topics)}" if isinstance(inner, dict) else "list"
    return "time" if kind == "date-time" else str(kind)


def _bounded(about: dict[str, Any]) -> str:
    """A type with its bounds; that something may be null as well is said by its default."""
    if "anyOf" in about:
        return " or ".join(_bounded(one) for one in about["anyOf"] if one != {"type": "null"})
    if "contentEncoding" in about:
        return f"string, {about['contentEncoding']}"
    return f"{_type(about)}{_bounds(about)}"


def _bounds(about: dict[str, Any]) -> str:
    if pattern := about.get("pattern"):
        found = _HEXADECIMAL.fullmatch(pattern)
        return f", {found[1]} hexadecimal digits" if found else f" like `{pattern}`"
    for words, unit in (("imum", ""), ("Length", " characters"), ("Items", " of them")):
        low, high = about.get(f"min{words}"), about.get(f"max{words}")
        if low is not None and high is not None:
            return f", {low} to {high}{unit}"
        if high is not None:
            return f", {high}{unit} at most"
        if low is not None:
            return f", {low} or more{unit}"
    return ""


def _default(about: dict[str, Any]) -> str:
    if "default" not in about:
        return "*needed*"
    value = about["default"]
    return "*unset*" if value is None else f"`{json.dumps(value)}`"
