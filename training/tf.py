"""TensorFlow and Keras 2, quietly: ``from training.tf import keras, tf``.

TFMOT quantises Keras 2 models only, so `tf_keras` it is, everywhere. Importing this costs seconds;
commands import it inside the function that trains.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any

from training.quiet import quiet

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


#: Of glibc's `mallopt` (malloc.h): what is set, and to what.
_MALLOC = {
    "M_ARENA_MAX": (-8, 1),
    "M_MMAP_MAX": (-4, 0),
    "M_TRIM_THRESHOLD": (-1, 2**31 - 1),
    "M_TOP_PAD": (-2, 64 << 20),
}


def _keep_freed_memory() -> None:
    """Have malloc keep what is freed, in one heap, where it can be told to.

    Every step takes and frees the same hundreds of megabytes. Given back to the system, each page
    of them is cleared and mapped anew in the next step: half of the processor's time on a virtual
    machine. Threads that have heaps of their own would give back all the same.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        for parameter, value in _MALLOC.values():
            mallopt(parameter, value)


_keep_freed_memory()  # before TensorFlow's threads begin

with quiet():  # oneDNN, CUDA, absl
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
