"""What msgspec says of a value that it refuses, in plain words: where, which value, and what it
must be instead.
"""

from __future__ import annotations

import re
import reprlib
from typing import Any

_PLACE = re.compile(r" - at (?:`key` in )?`\$(?P<place>[^`]*)`$")
_KINDS = {
    "array": "a list",
    "bool": "true or false",
    "bytes": "text in base64",
    "datetime": "a time",
    "float": "a number",
    "int": "a whole number",
    "str": "text",
}
_DIGITS = re.compile(r"matching regex '\^\[0-9a-f\]\{(?P<digits>\d+)\}")
_BOUND = re.compile(r"`(?:int|float)` (?P<sign>[<>]=?) (?P<bound>\S+)$")
_SIGNS = {">=": "{} or more", "<=": "at most {}", ">": "above {}", "<": "below {}"}
_LENGTH = re.compile(
    r"`(?P<kind>\w+)` of length (?P<sign>[<>]=)? ?(?P<length>[\d to]+)(?:, got .*)?$"
)
_FEWEST = {">=": "at least ", "<=": "at most ", None: ""}
_MULTIPLE = re.compile(r"that's a (?P<multiple>multiple of \S+)$")
_KIND = re.compile(r"^Expected `(?P<kinds>[^`]*)`")
_FIELD = re.compile(r"^Object (?P<found>contains unknown|missing required) field `(?P<name>.*)`$")


def refusal(error: Exception, raw: object = ...) -> str:
    """A refusal of msgspec in one sentence: ``labels[0].threshold = 2: it must be at most 1``.

    Args:
        error: msgspec's; what else it says, such as why JSON is malformed, stays.
        raw: What was refused as plain values, to name the one in question; not given: none is.
    """
    what, path = apart(str(error))
    if field := _FIELD.search(what):
        name = dotted([*path, field["name"]])
        return f"{name} is {'missing' if 'missing' in field['found'] else 'not known'}"
    place = dotted(path)
    if place and raw is not ...:
        place += f" = {reprlib.repr(value_at(raw, path))}"
    return f"{place}: {in_words(what)}" if place else in_words(what)


def apart(message: str) -> tuple[str, list[str]]:
    """What msgspec found wrong, and the names and numbers that lead to it."""
    found = _PLACE.search(message)
    if found is None:
        return message, []
    return message[: found.start()], [p for p in re.split(r"[.\[\]]+", found["place"]) if p]


def dotted(path: list[str]) -> str:
    """Names and numbers as they are written: ``view.regions[0]``."""
    return "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path).lstrip(".")


def value_at(raw: object, path: list[str]) -> object:
    """The value that names and numbers lead to in plain values; None where there is none."""
    for part in path:
        if isinstance(raw, dict):
            raw = raw.get(part)
        elif isinstance(raw, list | tuple):
            raw = raw[int(part)]
    return raw


def in_words(what: str, table: str = "an object") -> str:
    """What a value must be, from what msgspec expected; all else that it says stays as it is.

    `table` is what an object is called where the value comes from.
    """
    if what.startswith(("Invalid enum value", "Invalid value")):
        return "it is not one of the choices"
    if what == "Input data was truncated":
        return "it is cut short"
    if digits := _DIGITS.search(what):
        return f"it must be {digits['digits']} hexadecimal digits (0-9, a-f)"
    if "matching regex" in what:
        return "it does not have the required form"
    if bound := _BOUND.search(what):
        return f"it must be {_SIGNS[bound['sign']].format(bound['bound'].removesuffix('.0'))}"
    if multiple := _MULTIPLE.search(what):
        return f"it must be a {multiple['multiple']}"
    if length := _LENGTH.search(what):
        return f"it must have {_FEWEST[length['sign']]}{_counted(length)}"
    if kinds := _KIND.search(what):
        names = [name for name in kinds["kinds"].split(" | ") if name != "null"]
        known: dict[str, Any] = {**_KINDS, "object": table}
        return f"it must be {' or '.join(known.get(name, name) for name in names)}"
    return what


def _counted(length: re.Match[str]) -> str:
    one, many = ("character", "characters") if length["kind"] == "str" else ("entry", "entries")
    return f"{length['length']} {one if length['length'] == '1' else many}"
