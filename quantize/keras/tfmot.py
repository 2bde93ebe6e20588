"""The one place that imports TensorFlow Model Optimization, with the Keras it needs.

`training.tf` comes first: it sets TF_USE_LEGACY_KERAS before TensorFlow is imported, without which
TFMOT would look for its layers in Keras 3 and recognise none.
"""

from __future__ import annotations

import warnings

from training.tf import keras, tf

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations inside TFMOT, none of ours to mend
    from tensorflow_model_optimization.python.core.clustering.keras import cluster
    from tensorflow_model_optimization.python.core.clustering.keras.cluster_config import (
        CentroidInitialization,
    )
    from tensorflow_model_optimization.python.core.clustering.keras.clustering_algorithm import (
        ClusteringAlgorithm,
    )
    from tensorflow_model_optimization.python.core.quantization.keras import (
        quant_ops,
        quantize,
        quantize_layer,
        quantizers,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (  # noqa: E501
        cluster_preserve_quantize_registry as cluster_registry,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (  # noqa: E501
        default_8bit_cluster_preserve_quantize_scheme as cluster_scheme,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.prune_preserve import (  # noqa: E501
        default_8bit_prune_preserve_quantize_scheme as preserve_scheme,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as registry,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_scheme as plain_scheme,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantizers as default_quantizers,
    )
    from tensorflow_model_optimization.python.core.sparsity.keras import (
        prune as sparsity,
    )
    from tensorflow_model_optimization.python.core.sparsity.keras import (
        pruning_callbacks,
        pruning_schedule,
        pruning_wrapper,
    )

__all__ = [
    "CentroidInitialization",
    "ClusteringAlgorithm",
    "cluster",
    "cluster_registry",
    "cluster_scheme",
    "default_quantizers",
    "keras",
    "plain_scheme",
    "preserve_scheme",
    "pruning_callbacks",
    "pruning_schedule",
    "pruning_wrapper",
    "quant_ops",
    "quantize",
    "quantize_layer",
    "quantizers",
    "registry",
    "sparsity",
    "tf",
]
