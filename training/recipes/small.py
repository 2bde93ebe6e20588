"""A small net from scratch on the demo's synthetic scenes: a minute on two cores, about 95 %.

python -m training synth data/synth && python -m training fit data/synth --recipe small --out runs/s
"""

from training.recipe import Augmentation, Recipe

RECIPE = Recipe(
    model="small",
    alpha=1.0,
    resolution=96,
    epochs=20,
    learning_rate=4e-3,
    weight_decay=0.02,
    average=0.98,
    dropout=0.1,
    augment=Augmentation(flip_vertical=True, rotation=180, area=(0.7, 1.1), hue=5),
)
