"""Weight clustering: every kernel keeps a few different values (Han et al. 2016, arXiv:1510.00149).

TFMOT's wrappers hold a layer's values as centroids and train them along with who belongs to which.
The kernels are brought to one range and sign per channel first (see `quantize.int8.equalisation`):
what is the same value in two channels is then the same int8 level. Centroids start from kmeans++
and go on to where k-means ends: 16 of them left 0.8 % of the variance of MobileNetV2's kernels,
kmeans++ alone 1.0 %, TFMOT's density-based start 2.2 %. What that shifts on average is taken back
before training (see `quantize.int8.bias_correction`): with 16 values and none of it a net of 69 %
on 220 photos was right on 28 %, with it on 63 %.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import QuantizeError
from quantize.int8.bias_correction import correct
from quantize.int8.equalisation import equalise, hold_upright, turn_upright
from quantize.keras.finetune import steady
from quantize.keras.kernels import check_kernels, prunable, twin
from quantize.options import CLUSTER_EPOCHS, CLUSTER_STEPS
from quantize.workbench import KERAS, Workbench
from training.untyped import Layer, Model

#: Photos that mean shifts are taken back on.
CORRECTION_PHOTOS = 64
#: Rounds of k-means; values move no more long before.
ROUNDS = 100


def clustered(bench: Workbench, source: Model, features: NDArray[np.int64] | None = None) -> Model:
    """The phase: `source` with as few values a layer as asked for; made or from before.

    `features` says which of the run's pooled features the model has, where not all.

    Raises:
        QuantizeError: nothing can be clustered, or training diverged.
    """
    options, count = bench.options, bench.options.clusters

    def make() -> Model:
        rate = options.pruning_learning_rate
        schedule = bench.schedule(options.pruning_epochs, CLUSTER_EPOCHS, CLUSTER_STEPS, rate)
        check_kernels(source, "clustered")
        train = bench.teach(schedule, stream=6, features=features)
        what = f"clustering {len(clusterable(source, count))} layers to {count} values"
        bench.watcher.phase(what, schedule.steps)
        photos = bench.train_photos(CORRECTION_PHOTOS, source)
        return cluster(source, count, photos, train)

    facts = bench.source_facts()
    return bench.kept("clustered", facts, KERAS, make, "clustered model taken from")


def cluster(
    model: Model, count: int, photos: NDArray[np.float32], train: Callable[[Any], object]
) -> Model:
    """Return a copy of `model` whose kernels hold at most `count` different values each.

    Zeros stay zeros where a kernel has them; zero is then one of its values.

    Args:
        model: not changed.
        count: of values a layer, 2 or more, with zeros 3 or more.
        photos: training photos to see shifts on, float32 (n, h, w, c) in -1..1.
        train: fine-tunes the model that it is given in place.

    Raises:
        QuantizeError: nothing can be clustered, training diverged, or there are more values.
    """
    from quantize.keras import tfmot

    copy = twin(model)
    equalise(copy)
    norms = turn_upright(copy)
    names = clusterable(copy, count)
    if not names:
        raise QuantizeError(
            f"--clusters {count}: no Conv2D or Dense layer of the model has more different weights"
        )

    wrapped = _wrap(copy, names, count)
    steady(wrapped)
    correct(wrapped, copy, photos)
    train(wrapped)
    hold_upright(wrapped, norms)
    stripped = tfmot.cluster.strip_clustering(wrapped)
    for layer in prunable(stripped):
        found = np.unique(layer.get_weights()[0]).size
        if found > count:
            raise QuantizeError(f"{layer.name} has {found} different weights, not {count}")
    return stripped


def _wrap(model: Model, names: Collection[str], count: int) -> Model:
    from quantize.keras import tfmot

    def clone(layer: Layer) -> Layer:
        fresh = layer.__class__.from_config(layer.get_config())
        if layer.name not in names:
            return fresh
        # The wrapper takes centroids, and where zeros are, from the weights it finds.
        fresh.build(layer.input_shape)
        fresh.set_weights(layer.get_weights())
        return tfmot.cluster.cluster_weights(
            fresh,
            number_of_clusters=count,
            cluster_centroids_init=tfmot.CentroidInitialization.KMEANS_PLUS_PLUS,
            # A zero by chance is no pruning, and TFMOT wants three values where zero is kept.
            preserve_sparsity=count > 2 and bool(np.any(layer.get_weights()[0] == 0)),
        )

    wrapped = tfmot.keras.models.clone_model(model, clone_function=clone)
    for layer in model.layers:
        if layer.name in names:
            centroids = wrapped.get_layer(f"cluster_{layer.name}").cluster_centroids["kernel"]
            centroids.assign(k_means(layer.get_weights()[0], centroids.numpy()))
        else:
            wrapped.get_layer(layer.name).set_weights(layer.get_weights())
    return wrapped


def clusterable(model: Model, count: int) -> frozenset[str]:
    """Names of the layers with more than `count` different weights; others are as asked already.

    Depthwise kernels are left as they are, as TFMOT leaves them: few weights, much harm.
    """
    return frozenset(
        layer.name for layer in prunable(model) if np.unique(layer.get_weights()[0]).size > count
    )


def k_means(values: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move the centroids of numbers to where k-means ends; a centroid of zero stays.

    Zeros need no other centroid then, and do not draw one to them.

    Args:
        values: of any shape.
        centroids: (k,), to start from; where an empty cluster would be, the farthest value is one.

    Returns:
        (k,), each in its place.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    free = centroids != 0
    flat = values.reshape(-1, 1)
    if not free.all():
        flat = flat[flat[:, 0] != 0]
    start = centroids[free].reshape(-1, 1)
    # On one thread sums are added up in one order, and small tables are faster.
    with threadpool_limits(1):
        fitted = KMeans(len(start), init=start, n_init=1, max_iter=ROUNDS, tol=0).fit(flat)
    found = centroids.copy()
    found[free] = fitted.cluster_centers_[:, 0]
    return found
