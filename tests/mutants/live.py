"""The functions of a module that is imported: their code is exchanged where it lies."""

from __future__ import annotations

import gc
from types import CodeType, FunctionType


def functions(paths: set[str]) -> list[FunctionType]:
    """All functions of these files that exist."""
    return [
        one
        for one in gc.get_objects()
        if isinstance(one, FunctionType) and one.__code__.co_filename in paths
    ]


def exchange(code: CodeType, live: list[FunctionType]) -> bool:
    """Put new code into functions that exist; False: one cannot take it."""
    codes, parts = {}, [code]
    while parts:
        part = parts.pop()
        codes[part.co_filename, part.co_qualname, part.co_firstlineno] = part
        parts += [one for one in part.co_consts if isinstance(one, CodeType)]
    for one in live:
        old = one.__code__
        new = codes.get((old.co_filename, old.co_qualname, old.co_firstlineno))
        if new is None:
            continue
        if new.co_freevars != old.co_freevars:
            return False
        one.__code__ = new
    return True
