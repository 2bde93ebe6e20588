"""Fake quantization that keeps what came before it: zeros, clusters, or both.

Zeros are kept by TFMOT's pruning-preserving scheme. For clusters TFMOT has one too, taken up here
with four of its ways changed:

* Its int8 range is the channel's own, so the same centroid becomes another level in each channel:
  16 centroids came out as 40 to 58 levels in the layers of a small net. Here all channels have the
  layer's range (they were brought to one before they were clustered), and centroids are levels.
* Where all channels happen to have about as many values, it takes the layer for one clustered
  channel by channel, fills up with a centroid of 1.0, and lets the channels part.
* One quantizer serves all layers, and the first layer without a zero ends the keeping of zeros in
  every other.
* It gives a layer up, with a warning only, that has more than 1024 values in all its channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from training.untyped import Layer, Tensor


def preserving_scheme(clustered: bool) -> Any:  # noqa: ANN401 - a TFMOT scheme
    """TFMOT's scheme that keeps zeros, and with `clustered` the values of kernels too.

    Both look at the weights that the model has when the scheme is applied.
    """
    from quantize.keras import tfmot

    if not clustered:
        return tfmot.preserve_scheme.Default8BitPrunePreserveQuantizeScheme()
    conv, dense = _quantizers()

    class Registry(tfmot.cluster_registry.Default8bitClusterPreserveQuantizeRegistry):  # type: ignore[misc]
        """A quantizer of its own for each clustered layer."""

        def get_quantize_config(self, layer: Layer) -> Any:  # noqa: ANN401
            config = super().get_quantize_config(layer)
            if type(layer) is tfmot.keras.layers.Conv2D:
                config.weight_quantizer = conv()
            elif type(layer) is tfmot.keras.layers.Dense:
                config.weight_quantizer = dense(
                    num_bits=8, per_axis=False, symmetric=True, narrow_range=True
                )
            return config

    class Scheme(tfmot.cluster_scheme.Default8BitClusterPreserveQuantizeScheme):  # type: ignore[misc]
        """TFMOT's scheme with that registry."""

        def get_quantize_registry(self) -> Any:  # noqa: ANN401
            return Registry(self.preserve_sparsity)

    return Scheme()


def _quantizers() -> tuple[Any, Any]:
    """Classes for convolutions and dense layers."""
    from quantize.keras import tfmot

    tf = tfmot.tf

    class Clusters:
        """Trains a layer's centroids, and who belongs to which, through the rounding."""

        num_bits: int
        per_axis: bool

        def build(self, shape: Any, name: str, layer: Layer) -> dict[str, Any]:  # noqa: ANN401
            kernel = getattr(layer.layer, name).numpy()
            values = np.unique(kernel)
            initial = tfmot.keras.initializers.Constant
            centroids = layer.add_weight(
                "centroids", shape=values.shape, initializer=initial(values), trainable=True
            )
            free = layer.add_weight(
                "free", shape=kernel.shape, initializer=initial(kernel), trainable=True
            )
            zero = np.any(kernel == 0)
            return {
                **super().build(shape, name, layer),  # type: ignore[misc]
                "centroids": centroids,
                "free": free,
                "kept": tf.constant((kernel != 0) | ~zero, tf.float32),
                "kept centroids": tf.constant((values != 0) | ~zero, tf.float32),
                "clusters": tfmot.ClusteringAlgorithm(centroids),
            }

        def __call__(self, inputs: Tensor, training: Any, weights: Any, **_: Any) -> Any:  # noqa: ANN401
            return tfmot.quant_ops.LastValueQuantize(
                _pulled(inputs, weights) if training else inputs,
                weights["min_var"],
                weights["max_var"],
                per_channel=self.per_axis,
                is_training=False,  # ranges are set above
                num_bits=self.num_bits,
                narrow_range=True,
                symmetric=True,
            )

    class Conv(Clusters, tfmot.default_quantizers.Default8BitConvWeightsQuantizer):  # type: ignore[misc]
        """Ranges a channel, all the same: the converter wants them so to fold a batch norm."""

    class Dense(Clusters, tfmot.quantizers.LastValueQuantizer):  # type: ignore[misc]
        """One range."""

    return Conv, Dense


def _pulled(inputs: Tensor, weights: Any) -> Tensor:  # noqa: ANN401
    """Pull a kernel to its centroids, its ranges to the layer's; give the kernel as it is then."""
    from quantize.keras.tfmot import tf

    centroids, free = weights["centroids"], weights["free"]
    free.assign(free * weights["kept"])
    centroids.assign(centroids * weights["kept centroids"])
    nearest = weights["clusters"].get_pulling_indices(free)
    values = weights["clusters"].get_clustered_weight(nearest, free)
    inputs.assign(values)
    size = tf.reduce_max(tf.abs(values))
    low, high = weights["min_var"], weights["max_var"]
    low.assign(tf.fill(low.shape, -size))
    high.assign(tf.fill(high.shape, size))
    return values
