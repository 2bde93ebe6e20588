"""Fine-tune EfficientNet-Lite0 at 224 pixels: more accurate start weights, at a price.

python -m training fit photos/ --recipe finetune_lite --weights FILE --out runs/photos

Steps as of `finetune`. A picture costs 6.5 times the multiply-adds of MobileNetV2 0.35.
"""

import msgspec

from training.recipes import finetune

RECIPE = msgspec.structs.replace(finetune.RECIPE, model="efficientnet_lite", alpha=None, variant=0)
