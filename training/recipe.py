"""A training recipe: every choice of one experiment as one frozen, self-checking value."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
import msgspec.inspect
from msgspec import Meta

from edge.errors import TrainingError
from edge.model.image.preprocessing import InputSpec
from edge.text.refusals import in_words
from training.architectures import ARCHITECTURES, settings_of

#: Settings that belong to some architectures only.
OWN = ("alpha", "variant")

Area = Annotated[float, Meta(gt=0, le=4)]
Share = Annotated[float, Meta(ge=0, le=1)]
Blend = Annotated[float, Meta(gt=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=10_000)]


class Augmentation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much training photos are varied. 0 switches a kind off; see `training.input.augment`."""

    flip_horizontal: bool = True
    """Mirror left and right, half of the time."""
    flip_vertical: bool = False
    """Mirror top and bottom, half of the time: for pictures without an up."""
    quarter_turns: bool = False
    """Swap rows and columns of half the batches; with both flips, all eight orientations."""
    rotation: Annotated[float, Meta(ge=0, le=180)] = 15.0
    """Degrees to either side."""
    turned: Share = 1.0
    """Share of a batch that is rotated; the cost of augmentation is mostly theirs."""
    area: tuple[Area, Area] = (0.6, 1.0)
    """Least and largest share of the photo's area that is cut out; above 1 zooms out."""
    aspect: Annotated[float, Meta(ge=1, le=10)] = 1.2
    """Largest ratio by which width and height are stretched against one another."""
    shift: Share = 0.0
    """Share of the side that the cut-out may leave the photo by; the rest is mirrored."""
    brightness: Share = 0.2
    """Largest change, as a share of the full range."""
    contrast: Share = 0.2
    """Contrast is multiplied by up to 1 +- this."""
    saturation: Share = 0.2
    """Colour saturation is multiplied by up to 1 +- this."""
    hue: Annotated[float, Meta(ge=0, le=180)] = 8.0
    """Hue turns by up to this many degrees."""
    grey: Share = 0.0
    """Share of photos that lose their colour."""
    blur: Share = 0.0
    """Share of photos that are blurred (a 3 x 3 mean, by a random part)."""
    noise: Annotated[float, Meta(ge=0, le=255)] = 0.0
    """Largest standard deviation of added noise, in levels of 0..255."""
    cutout: Share = 0.0
    """Largest side of a square that is greyed out, as a share of the picture."""
    mixup: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """Parameter of the Beta distribution that two photos are mixed by (Zhang et al. 2018)."""
    cutmix: Share = 0.0
    """Share of photos that get a rectangle of another one (Yun et al. 2019)."""

    def __post_init__(self) -> None:
        if self.area[0] > self.area[1]:
            raise ValueError(f"area {self.area}: the smaller share comes first")


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Model, input, schedule and regularisation of one training run."""

    model: str = "mobilenet_v2"
    """A name of `training.architectures.ARCHITECTURES`."""
    alpha: Annotated[float, Meta(ge=0.1, le=4)] | None = None
    """Width of `mobilenet_v2` and `small`; None: 0.35 of these, and nothing of others."""
    variant: Annotated[int, Meta(ge=0, le=2)] | None = None
    """Size of `efficientnet_lite`; None: 0 of it, and nothing of others."""
    resolution: Annotated[int, Meta(ge=16, le=1024)] = 224
    """Side of the square input, pixels."""
    crop: Literal["stretch", "centre", "pad"] = "stretch"
    """How a photo becomes square, in training and on the device."""
    weights: str | None = None
    """"imagenet", a file, or None: from scratch."""
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.2
    """Share of features dropped before the last layer."""

    head_views: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Augmented copies of each photo whose frozen features the head is fitted to first."""
    epochs: Count = 20
    """Passes over the training photos that train everything; 0 leaves the fitted head."""
    steps: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Least steps of a training that trains everything: with few photos epochs are added, since
    an epoch of 90 photos is three steps."""
    members: Annotated[int, Meta(ge=1, le=100)] = 1
    """Trainings from the fitted head on, with other draws, whose weights are averaged
    ("model soup", Wortsman et al. 2022, arXiv:2203.05482)."""
    batch: Annotated[int, Meta(ge=1, le=4096)] = 32
    """Photos per step."""
    learning_rate: Annotated[float, Meta(gt=0, le=1)] = 1e-3
    """Peak, after warm-up; then a cosine to 0."""
    warmup: Annotated[float, Meta(ge=0, le=10_000)] = 1.0
    """Epochs of linear rise to the peak."""
    layer_decay: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Each block further from the output learns at this ratio of the next one's rate."""
    freeze_blocks: Count = 0
    """The first blocks stay as they are (and cost no backward pass)."""
    freeze_statistics: bool = False
    """Batch norm keeps the start weights' means and variances, in training too."""
    weight_decay: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """Decoupled (AdamW), per step times the learning rate; matrices only."""
    anchor: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """Decoupled pull towards the start weights (L2-SP, Li et al. 2018)."""
    average: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Decay per step of the running mean of the weights, which is what is kept."""
    blend: Blend | Annotated[tuple[Blend, ...], Meta(min_length=1)] = 1.0
    """Final weights = start + this * (trained - start) (WiSE-FT, Wortsman et al. 2022); of several
    shares the validation photos choose."""
    label_smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    """Share of the target spread over all classes."""
    teacher_share: Share = 0.7
    """Share of the loss that is the distance from what teachers say, where there are any."""
    teacher_temperature: Annotated[float, Meta(ge=1, le=20)] = 2.0
    """Temperature at which answers are held against those of teachers: above 1, what a photo
    might be taken for counts for more (Hinton et al. 2015, arXiv:1503.02531)."""
    class_weights: Literal["none", "inverse", "effective"] = "none"
    """Loss weights: 1/n, or by the effective number of photos (Cui et al. 2019)."""
    group_balance: Share = 0.0
    """0 draws photos alike; 1 draws groups alike, so twenty shots of one plant count as one."""
    patience: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    """Stop after this many epochs without a better validation macro-F1."""
    source_resolution: Annotated[int, Meta(ge=16, le=2048)] | None = None
    """Side at which training photos are kept to be cut from; None: the resolution."""
    augment: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        if not self.epochs and not self.head_views:
            raise ValueError(
                "epochs 0 and head_views 0: nothing would be trained; give one of them 1 or more"
            )
        if self.weights is not None and not self.weights.strip():
            raise ValueError("weights is empty: give a file, imagenet or none")
        if self.model in ARCHITECTURES:
            self._settle_own()

    def _settle_own(self) -> None:
        """Give the architecture's own settings their usual values, and refuse those of others."""
        takes = settings_of(self.model)
        for name in OWN:
            value = getattr(self, name)
            if value is None:
                msgspec.structs.force_setattr(self, name, takes.get(name))
            elif name not in takes:
                has = f"; it has {', '.join(takes)}" if takes else ""
                raise ValueError(f"{name} is {value}: {self.model} has no such setting{has}")

    @property
    def blends(self) -> tuple[float, ...]:
        """Shares of the trained weights that are tried."""
        return self.blend if isinstance(self.blend, tuple) else (self.blend,)

    @property
    def input(self) -> InputSpec:
        """Input rule of the model."""
        side = self.resolution
        return InputSpec(width=side, height=side, crop=self.crop, dtype="float32")

    @property
    def source(self) -> InputSpec:
        """Input rule of the cached training photos."""
        side = self.source_resolution or self.resolution
        return InputSpec(width=side, height=side, crop=self.crop)


def change_recipe(recipe: Recipe, changes: Iterable[str]) -> Recipe:
    """The recipe with "key=value" changes; values as in JSON, bare words as text.

    With another model, settings that only the former one has are left behind.

    Raises:
        TrainingError: a key is unknown or a value is out of its range.
    """
    table: dict[str, Any] = msgspec.to_builtins(recipe)
    given = set()
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise TrainingError(f"--set {change!r}: write key=value")
        parent, _, leaf = key.strip().rpartition(".")
        if parent not in ("", "augment"):
            raise TrainingError(f"--set {key}: only augment has keys below it, as augment.hue")
        (table["augment"] if parent else table)[leaf] = _value(text)
        given.add(key.strip())
    if table["model"] != recipe.model:
        kept = given.union(settings_of(str(table["model"])))
        table.update(dict.fromkeys(set(OWN) - kept))
    try:
        return msgspec.convert(table, Recipe)
    except msgspec.ValidationError as error:
        raise TrainingError(_explained(str(error), table)) from error


def steps_per_epoch(recipe: Recipe, photos: int) -> int:
    """Steps that see about every photo once; at least one."""
    return max(1, math.floor(photos / recipe.batch))


def epochs_of(recipe: Recipe, photos: int) -> int:
    """Epochs of one member: those asked for, more where they would be too few steps."""
    if not recipe.epochs:
        return 0
    return max(recipe.epochs, math.ceil(recipe.steps / steps_per_epoch(recipe, photos)))


def _explained(message: str, table: dict[str, Any]) -> str:
    """What msgspec found wrong, with the value, the whole range, and keys that may be meant."""
    what, _, place = message.rstrip("`").partition(" - at `$.")
    if unknown := re.search(r"unknown field `([^`]*)", what):
        below = place == "augment"
        keys = (Augmentation if below else Recipe).__struct_fields__
        near = difflib.get_close_matches(unknown[1], keys, 3) or sorted(keys)
        prefix = "augment." if below else ""
        known = ", ".join(prefix + key for key in near)
        return f"recipe: unknown field {prefix}{unknown[1]}; perhaps {known}"
    if not place:
        return f"recipe: {in_words(message)}"
    value: Any = table
    for key in re.findall(r"\w+", place):
        value = value[int(key) if key.isdigit() else key]
    return f"recipe: {place} is {value!r}: {in_words(what)}{_range(place)}"


def _range(place: str) -> str:
    """``; from 1 to 100`` for a field with bounds on both sides, by its path; or its choices."""
    *above, leaf = re.sub(r"\[\d+\]", "", place).split(".")
    kind = msgspec.inspect.type_info(Augmentation if above else Recipe)
    assert isinstance(kind, msgspec.inspect.StructType)
    for field in kind.fields:
        if field.name == leaf:
            if isinstance(field.type, msgspec.inspect.LiteralType):
                return f"; choose from {', '.join(map(str, field.type.values))}"
            for of in (field.type, *getattr(field.type, "types", ()), *_items(field.type)):
                low = getattr(of, "ge", None), getattr(of, "gt", None)
                high = getattr(of, "le", None), getattr(of, "lt", None)
                if any(x is not None for x in low) and any(x is not None for x in high):
                    begin = f"from {low[0]:g}" if low[0] is not None else f"above {low[1]:g}"
                    end = f"to {high[0]:,g}" if high[0] is not None else f"to below {high[1]:g}"
                    return f"; {begin} {end}"
    return ""


def _items(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401
    return tuple(getattr(kind, "item_types", ()))


def _value(text: str) -> Any:  # noqa: ANN401
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {"none": None, "None": None, "True": True, "False": False}.get(text, text)
