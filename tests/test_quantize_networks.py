"""What is done to weights, on every architecture: zeros, patterns and clusters in the int8 file."""

from typing import Any

import numpy as np
import pytest
from networks import NETS, network

from quantize.compress.cluster import cluster
from quantize.compress.prune import How, prune
from quantize.int8.convert import to_int8_ptq
from quantize.keras.finetune import Distillation, Schedule
from quantize.tflite.graph import check_all_int8, layers
from training.tflite import read_graph


@pytest.fixture(scope="module")
def photos():
    """Smooth noise, (8, 64, 64, 3)."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(-1, 1, (8, 8, 8, 3))
    return coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.float32)


def as_int8(model, photos):
    """The layers of its int8 file, all of whose operators are int8."""
    graph = read_graph(to_int8_ptq(model, (photo[np.newaxis] for photo in photos), "int8"))
    check_all_int8(graph)
    return layers(graph)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("how", [How(True, False), How(True, True)], ids=["free", "2:4"])
def test_zeros_reach_the_int8_file_of_every_architecture(photos, name, how):
    """Half of all weights, or two of any four; depthwise kernels stay whole."""
    model, schedule = network(name), Schedule(epochs=1, steps_per_epoch=4, learning_rate=1e-4)

    def teach(student):
        batches = ((photos, None) for _ in range(schedule.steps))
        Distillation(student, model).run(batches, schedule, lambda *_: None)

    found = as_int8(prune(model, 0.5, photos, teach, schedule, how), photos)
    wanted = 0.4 if how.two_of_four else 0.49
    assert sum(x.zeros for x in found) >= wanted * sum(x.size for x in found)


@pytest.mark.parametrize("name", NETS)
def test_clusters_reach_the_int8_file_of_every_architecture(photos, name):
    """Convolutions and the dense layer: sixteen values; the network answers what it did, nearly."""
    model = network(name)
    taught: list[Any] = []
    clustered = cluster(model, 16, photos, taught.append)
    assert len(taught) == 1
    kernels = [
        layer.get_weights()[0]
        for layer in clustered.layers
        if type(layer).__name__ in ("Conv2D", "Dense")
    ]
    assert len(kernels) > 15
    assert max(np.unique(kernel).size for kernel in kernels) <= 16
    assert as_int8(clustered, photos)
    wanted, given = (each(photos, training=False).numpy() for each in (model, clustered))
    assert np.square(given - wanted).mean() < 0.5 * wanted.var()
