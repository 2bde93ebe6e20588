"""Fine-tune MobileNetV2 0.35 at 224 pixels from ImageNet weights: the one to start with.

python -m training fit photos/ --recipe finetune --out runs/photos

About 17 epochs in all for 1,331 photos. On the jute benchmark (17 classes, grouped split), mean of
three seeds: 69.9 % of the validation and 70.2 % of the test photos right, calibration error 0.045.
"""

from training.recipe import Augmentation, Recipe

RECIPE = Recipe(
    weights="imagenet",
    head_views=3,
    epochs=16,
    patience=4,
    members=2,
    learning_rate=5e-4,
    freeze_blocks=6,
    freeze_statistics=True,
    average=0.99,
    group_balance=0.5,
    augment=Augmentation(flip_vertical=True, rotation=180, area=(0.4, 1.0)),
)
