"""Text that comes from outside the program, such as names of files: nobody promises its encoding.

Python keeps bytes of a file's name that are not UTF-8 as lone surrogates, which no JSON, no MQTT
and no terminal takes. Text is made printable once, where it enters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

_KEPT_BYTE = re.compile("[\udc80-\udcff]")


def printable(text: str) -> str:
    r"""Make text encodable: bytes that are not UTF-8 become ``\xe4`` and the like."""
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a pair of UTF-16, as JSON and Windows know them
        shown = _KEPT_BYTE.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text)
        return shown.encode("utf-8", "backslashreplace").decode()


def told(error: BaseException) -> str:
    """The text of an error, or its class where it has none."""
    try:
        text = str(error)
    except Exception:  # an error that cannot even be printed
        text = ""
    return printable(text) or type(error).__name__


def encoded(data: object, enc_hook: Callable[[Any], Any] | None = None) -> bytes:
    """Return the UTF-8 JSON of what msgspec can encode; text that UTF-8 cannot hold is escaped to
    printable form. `enc_hook` as of :func:`msgspec.json.encode`.
    """
    try:
        return msgspec.json.encode(data, enc_hook=enc_hook)
    except UnicodeEncodeError:
        return msgspec.json.encode(_all_printable(msgspec.to_builtins(data, enc_hook=enc_hook)))


def _all_printable(data: object) -> object:
    if isinstance(data, str):
        return printable(data)
    if isinstance(data, dict):
        return {_all_printable(key): _all_printable(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_all_printable(one) for one in data]
    return data
