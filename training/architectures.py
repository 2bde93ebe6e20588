"""Architectures by name. One more = a file in `training.models` and a line in `ARCHITECTURES`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Architecture(NamedTuple):
    """Where a network is built, and what sets its size."""

    build: str
    """"module:function" of what builds it."""
    settings: Mapping[str, float] = MappingProxyType({})
    """Those settings of a recipe that it has for its own, with their usual values."""


ARCHITECTURES = {
    "mobilenet_v2": Architecture("training.models.mobilenet_v2:build", {"alpha": 0.35}),
    "efficientnet_lite": Architecture("training.models.efficientnet_lite:build", {"variant": 0}),
    "small": Architecture("training.models.small:build", {"alpha": 0.35}),
}


def settings_of(model: str) -> Mapping[str, float]:
    """An architecture's own settings with their usual values; none of one that is not known."""
    return ARCHITECTURES[model].settings if model in ARCHITECTURES else {}
