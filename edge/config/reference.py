"""Every setting as Markdown, from the sections and the docstrings under them."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge.config.explain import bounds, docstrings, structs_in
from edge.config.whole import Config

Struct = type[msgspec.Struct]

_HEAD = """\
# Every setting

Made from the program by `wheatear schema --settings`. [configure.md](configure.md) explains what
they are for, together; `firmware-config/config.toml` shows them as a file.

Unknown settings and values out of range are refused, with the setting's name. A relative path is
relative to the file. *Needed*: there is no default. *Unset*: it may be left out.
"""
_KINDS = {bool: "`true`, `false`", str: "text", Path: "path", float: "number", int: "whole number"}


def markdown() -> str:
    """The page: a heading for each table of the file, a line for each setting."""
    parts = [_HEAD]
    for path, section in _sections("", Config):
        kind = section.__struct_config__.tag
        title = f"`[{path}]`" + (f' with `kind = "{kind}"`' if kind else "")
        about = (section.__doc__ or "").strip().replace("``", "`").partition(": ")[2]
        about = " ".join(about.split())
        parts.append(f"\n## {title}\n\n{about[:1].upper()}{about[1:]}\n\n{_table(section)}")
    return "".join(parts)


def _sections(path: str, struct: Struct) -> Iterator[tuple[str, Struct]]:
    """Yield all tables below `struct`, in the order of the file, with their names."""
    hints = typing.get_type_hints(struct)
    for field in msgspec.structs.fields(struct):
        for inner in structs_in(hints[field.name]):
            name = f"{path}.{field.name}".strip(".")
            yield name, inner
            yield from _sections(name, inner)


def _table(section: Struct) -> str:
    hints = typing.get_type_hints(section, include_extras=True)
    texts = docstrings(section, "`")
    rows = [
        f"| `{field.name}` | {_default(field)} | {_kind(hints[field.name])} "
        f"| {texts.get(field.name, '').replace('|', '/')} |\n"
        for field in msgspec.structs.fields(section)
        if not list(structs_in(typing.get_type_hints(section)[field.name]))
    ]
    return "| setting | default | allowed | what |\n|---|---|---|---|\n" + "".join(rows)


def _default(field: msgspec.structs.FieldInfo) -> str:
    """A default as it is written in the file."""
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is msgspec.NODEFAULT:
        return "*needed*"
    if value is None:
        return "*unset*"
    return f"`{json.dumps(msgspec.to_builtins(value, enc_hook=str))}`"


def _kind(hint: object) -> str:
    """The values that a setting may have: its range or choices, else the kind of value."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return next(filter(None, map(bounds, inner)), None) or _kind(inner[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(one) for one in inner if one is not type(None)))
    if origin is tuple:
        return f"list of {_kind(inner[0])}"
    if origin is dict:
        return f"table of {_kind(inner[1])}"
    if origin is typing.Literal:
        return ", ".join(f"`{one}`" for one in inner)
    return _KINDS.get(hint, "text")  # type: ignore[call-overload, no-any-return]
