"""Text that comes from outside the program, such as names of files: nobody promises its encoding.

Python keeps bytes of a file's name that are not UTF-8 as lone surrogates, which no JSON, no MQTT
and no terminal takes. Text is made printable once, where it enters.
"""

from __future__ import annotations

import re

_KEPT_BYTE = re.compile("[\udc80-\udcff]")


def printable(text: str) -> str:
    r"""Give text that can be encoded: bytes that are not UTF-8 are told as ``\xe4``."""
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
    """Say what an error says, and its class where that is nothing."""
    try:
        text = str(error)
    except Exception:  # an error that cannot even be printed
        text = ""
    return printable(text) or type(error).__name__
