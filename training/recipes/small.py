"""A small net from scratch on the demo's synthetic scenes: a minute or two on two cores, 93 %.

python -m training synth data/synth && python -m training fit data/synth --recipe small --out runs/s
"""

from training.recipe import Augmentation, Recipe

RECIPE = Recipe(
    model="small",
    alpha=1.0,
    resolution=112,
    epochs=40,
    batch=16,
    learning_rate=3e-3,
    weight_decay=0.02,
    average=0.98,
    dropout=0.0,
    label_smoothing=0.05,
    augment=Augmentation(
        flip_vertical=True, rotation=180, area=(0.55, 1.0), brightness=0.1, saturation=0.1, hue=3
    ),
)
