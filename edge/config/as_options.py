"""Advice of shared parts names settings; a command without a configuration has options instead."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping

from edge.errors import WheatearError

_SETTING = re.compile(r"\b(?:broker\.tls\.\w+|broker\.\w+|device\.id)\b")


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
