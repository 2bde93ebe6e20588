"""Fine-tune MobileNetV2 0.35 at 224 pixels from ImageNet weights: quick on a device and to train.

python -m training fit photos/ --recipe fast --out runs/photos

Six trainings of 160 steps, at least four epochs, and their mean: about 3 minutes for 1,331 photos
on two cores. docs/training.md has what it gives, and what else was tried.
"""

from training.recipe import Augmentation, Recipe

RECIPE = Recipe(
    weights="imagenet",
    head_views=3,
    epochs=4,
    steps=160,
    members=6,
    blend=(0.5, 0.7, 0.85, 1.0),
    learning_rate=5e-4,
    freeze_blocks=3,
    freeze_statistics=True,
    average=0.99,
    group_balance=0.5,
    augment=Augmentation(flip_vertical=True, rotation=180, area=(0.4, 1.0)),
)
