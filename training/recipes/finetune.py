"""Fine-tune MobileNetV2 0.35 at 224 pixels from ImageNet weights: the one to start with.

python -m training fit photos/ --recipe finetune --out runs/photos
"""

from training.recipe import Augmentation, Recipe

RECIPE = Recipe(
    weights="imagenet",
    head_views=4,
    epochs=20,
    learning_rate=5e-4,
    freeze_statistics=True,
    average=0.99,
    group_balance=0.5,
    augment=Augmentation(flip_vertical=True, rotation=180, area=(0.4, 1.0)),
)
