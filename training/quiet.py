"""What C++ libraries write to stderr while they load and convert: no setting keeps them quiet."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back what is written to stderr in the block; it is shown if an error ends the block.

    Where C++ ends the process itself, nothing is shown of it but where in Python that was.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (AttributeError, OSError):  # no stderr at all
        yield
        return
    watched = faulthandler.is_enabled()
    with os.fdopen(kept, "wb", buffering=0) as shown, tempfile.TemporaryFile() as held:
        if not watched:
            faulthandler.enable(shown)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            shutil.copyfileobj(held, shown)
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            if not watched:
                faulthandler.disable()
