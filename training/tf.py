"""TensorFlow and Keras 2, quietly: ``from training.tf import keras, tf``.

TFMOT quantises Keras 2 models only, so `tf_keras` it is, everywhere. Importing this costs seconds;
commands import it inside the function that trains.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextlib.contextmanager
def _without_start_up_lines() -> Iterator[None]:
    """Swallow what C++ writes while loading (oneDNN, CUDA, absl): no setting keeps it quiet.

    Python's own errors pass: a traceback is printed after this has ended.
    """
    try:
        sys.stderr.flush()
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # no stderr at all
        yield
        return
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


with _without_start_up_lines():
    import tensorflow as tf
    import tf_keras as keras

tf.get_logger().setLevel("ERROR")


def traced(function: Callable[..., Any], **options: Any) -> Any:  # noqa: ANN401
    """`tf.function` for functions that branch on no tensor, which ours do not.

    AutoGraph would rewrite each of them, and TFMOT's layers, before tracing: some of the
    processor's time in which a small net is trained and compressed, for the same bytes.
    """
    return tf.function(function, autograph=False, **options)


def as_written(function: Callable[..., Any]) -> Any:  # noqa: ANN401
    """A function that builds Keras layers, without AutoGraph: see `traced`."""
    return tf.autograph.experimental.do_not_convert(function)


__all__ = ["as_written", "keras", "tf", "traced"]
