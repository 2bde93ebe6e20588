"""TensorFlow and Keras 2, quietly: ``from training.tf import keras, tf``.

TFMOT quantises Keras 2 models only, so `tf_keras` it is, everywhere. Importing this costs seconds;
commands import it inside the function that trains.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Two lines about oneDNN and CUDA on every start tell the user nothing.
os.environ.setdefault("ABSL_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GLOG_minloglevel", "3")

import tensorflow as tf
import tf_keras as keras

tf.get_logger().setLevel("ERROR")

__all__ = ["keras", "tf"]
