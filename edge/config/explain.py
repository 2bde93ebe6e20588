"""Turns msgspec's refusal of a configuration into a sentence with path, value, range and cure; and
the settings in an error into the options that a person typed.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import msgspec

from edge.errors import WheatearError
from edge.text.refusals import apart, dotted, in_words, value_at

_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")
RENAMED = {
    "decision.agree": "decision.agreeing_frames",
    "decision.of": "decision.last_frames",
    "decision.leave": "decision.stay_share",
    "inbox.below": "inbox.below_confidence",
}
"""Settings that had another name once."""
_SETTING = re.compile(r"\b(?:broker\.tls\.\w+|broker\.\w+|device\.id)\b")


def explain(message: str, raw: dict[str, Any], root: type[msgspec.Struct]) -> str:
    """Return `message` as ``path = value: what is allowed. What the setting means``."""
    what, path = apart(message)
    struct = _struct_at(root, path, raw)
    if (unknown := _UNKNOWN.search(what)) and struct:
        known = [field.name for field in msgspec.structs.fields(struct)]
        path_now = _dotted(path, unknown["name"])
        if now := RENAMED.get(path_now):
            return f"{path_now} is no longer a setting; it is called {now} now"
        near = difflib.get_close_matches(unknown["name"], known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{path_now} is not a setting; {hint}known: {', '.join(known)}"
    if (missing := _MISSING.search(what)) and struct:
        about = docstrings(struct).get(missing["name"], "")
        return f"{_dotted(path, missing['name'])} is missing; set it. {about}".rstrip()
    value = value_at(raw, path)
    if kinds := _kinds(root, path):
        return f"{_dotted(path)} = {value!r} is refused: known kinds are {', '.join(kinds)}"
    setting = list(path)
    while setting and setting[-1].isdigit():
        setting.pop()
    parent = _struct_at(root, setting[:-1], raw)
    about = docstrings(parent).get(setting[-1], "") if parent and setting else ""
    allowed = _range(parent, setting[-1]) if parent and setting else ""
    text = f"{_dotted(path)} = {value!r} is refused: {in_words(what, 'a table')}"
    return f"{text}{f' (allowed: {allowed})' if allowed else ''}. {about}".rstrip()


def _dotted(path: list[str], *more: str) -> str:
    return dotted([*path, *more]) or "the file"


def _struct_at(
    root: type[msgspec.Struct], path: list[str], raw: dict[str, Any]
) -> type[msgspec.Struct] | None:
    """Find the struct that describes the table at `path` (in a union, by the table's ``kind``)."""
    struct = root
    value: Any = raw
    for part in path:
        hints = typing.get_type_hints(struct)
        value = value.get(part) if isinstance(value, dict) else None
        structs = list(structs_in(hints.get(part)))
        if len(structs) > 1:
            kind = value.get("kind") if isinstance(value, dict) else None
            structs = [one for one in structs if one.__struct_config__.tag == kind]
        if not structs:
            return None
        struct = structs[0]
    return struct


def _kinds(root: type[msgspec.Struct], path: list[str]) -> list[str]:
    """The tags to choose from where the ``kind`` of a union is missing or wrong at `path`."""
    names = path[:-1] if path[-1:] == ["kind"] else path
    hint = typing.get_type_hints(root).get(names[0]) if len(names) == 1 else None
    structs = list(structs_in(hint))
    return [str(one.__struct_config__.tag) for one in structs] if len(structs) > 1 else []


def structs_in(hint: object) -> Iterator[type[msgspec.Struct]]:
    """Yield the tables that a type is, or that a union of some consists of."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    elif typing.get_origin(hint) in (types.UnionType, typing.Union):
        for part in typing.get_args(hint):
            yield from structs_in(part)


def _range(struct: type[msgspec.Struct], name: str) -> str:
    """The range of a number, or the choices of a setting."""
    hint = typing.get_type_hints(struct, include_extras=True).get(name)
    if hint is None:
        return ""
    parts: list[str] = []
    for one in [hint, *typing.get_args(hint)]:
        if typing.get_origin(one) is typing.Literal:
            return ", ".join(repr(choice) for choice in typing.get_args(one))
        parts += filter(None, map(bounds, getattr(one, "__metadata__", ())))
    return parts[0] if parts else ""


def bounds(meta: Any) -> str:  # noqa: ANN401 - whatever an annotation holds
    """From what to what a number goes, in words; empty where it is not bounded."""
    if not isinstance(meta, msgspec.Meta) or (meta.ge is meta.gt is meta.le is None):
        return ""
    low = f"{meta.ge} to " if meta.ge is not None else ""
    low = f"more than {meta.gt}, to " if meta.gt is not None else low
    return f"{low}{meta.le}"


def docstrings(struct: type[msgspec.Struct], quote: str = "") -> dict[str, str]:
    """Read the docstring under each setting from the source, with `quote` around what is code.

    Done only where it is shown, and costs reading the source then.
    """
    try:
        body = ast.parse(inspect.getsource(struct)).body[0]
    except (OSError, TypeError, SyntaxError):  # a frozen program has no source
        return {}
    texts = {}
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for setting, text in pairwise(statements):
        if (
            isinstance(setting, ast.AnnAssign)
            and isinstance(setting.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            texts[setting.target.id] = " ".join(text.value.value.replace("``", quote).split())
    return texts


@contextlib.contextmanager
def as_options(options: Mapping[str, str]) -> Iterator[None]:
    """Name the settings in an error by `options`: for each setting, what a person types.

    Raises:
        WheatearError: the error, of the same class; settings that are not in `options` stay.
    """
    try:
        yield
    except WheatearError as error:
        text = _SETTING.sub(lambda found: options.get(found[0], found[0]), str(error))
        if text == str(error):
            raise
        raise type(error)(text) from error
