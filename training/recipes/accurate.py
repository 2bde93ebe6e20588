"""Fine-tune EfficientNet-Lite0 at 288 pixels: the most accurate start weights, at a price.

python -m training fit photos/ --recipe accurate --out runs/photos

Steps as of `fast`; a picture costs 11 times the multiply-adds of that one, and so does training.
"""

import msgspec

from training.recipes import fast

RECIPE = msgspec.structs.replace(
    fast.RECIPE,
    weights="efficientnet-lite0",
    model="efficientnet_lite",
    alpha=None,
    variant=0,
    resolution=288,
)
