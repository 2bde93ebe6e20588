"""Fine-tune MobileNetV2 0.35 at 224 pixels from ImageNet weights: the one to start with.

python -m training fit photos/ --recipe finetune --out runs/photos

24 short epochs in all, about 3 minutes for 1,331 photos on two cores; with fewer photos more
epochs, so that each training has the 160 steps it was settled with. On the jute benchmark (17
classes, grouped split, three seeds): 69.1 % of the validation and 71.7 % of the test photos are
right, calibration error 0.047 (docs/training.md has what else was tried).
"""

from training.recipe import Augmentation, Recipe

RECIPE = Recipe(
    weights="imagenet",
    head_views=3,
    epochs=4,
    steps=160,
    members=6,
    blend=0.7,
    learning_rate=5e-4,
    freeze_blocks=3,
    freeze_statistics=True,
    average=0.99,
    group_balance=0.5,
    augment=Augmentation(flip_vertical=True, rotation=180, area=(0.4, 1.0)),
)
