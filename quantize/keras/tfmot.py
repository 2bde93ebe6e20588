"""The one place that imports TensorFlow Model Optimization, with the Keras it needs.

`training.tf` comes first: it sets TF_USE_LEGACY_KERAS before TensorFlow is imported, without which
TFMOT would look for its layers in Keras 3 and recognise none.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

from training.tf import keras as keras
from training.tf import tf as tf


def _core(path: str) -> Any:  # noqa: ANN401 - TFMOT carries no types
    return import_module(f"tensorflow_model_optimization.python.core.{path}")


_QUANTIZATION, _CLUSTERING = "quantization.keras", "clustering.keras"
_PRESERVE = f"{_QUANTIZATION}.collab_opts"

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations inside TFMOT, none of ours to mend
    cluster = _core(f"{_CLUSTERING}.cluster")
    CentroidInitialization = _core(f"{_CLUSTERING}.cluster_config").CentroidInitialization
    ClusteringAlgorithm = _core(f"{_CLUSTERING}.clustering_algorithm").ClusteringAlgorithm
    quant_ops = _core(f"{_QUANTIZATION}.quant_ops")
    quantize = _core(f"{_QUANTIZATION}.quantize")
    quantize_layer = _core(f"{_QUANTIZATION}.quantize_layer")
    quantizers = _core(f"{_QUANTIZATION}.quantizers")
    registry = _core(f"{_QUANTIZATION}.default_8bit.default_8bit_quantize_registry")
    default_quantizers = _core(f"{_QUANTIZATION}.default_8bit.default_8bit_quantizers")
    cluster_registry = _core(f"{_PRESERVE}.cluster_preserve.cluster_preserve_quantize_registry")
    cluster_scheme = _core(
        f"{_PRESERVE}.cluster_preserve.default_8bit_cluster_preserve_quantize_scheme"
    )
    preserve_scheme = _core(
        f"{_PRESERVE}.prune_preserve.default_8bit_prune_preserve_quantize_scheme"
    )
    sparsity = _core("sparsity.keras.prune")
    pruning_callbacks = _core("sparsity.keras.pruning_callbacks")
    pruning_schedule = _core("sparsity.keras.pruning_schedule")
    pruning_wrapper = _core("sparsity.keras.pruning_wrapper")
