"""Fine-tune MobileNetV2 1.0 at 224 pixels from weights that know insects: the one to start with.

python -m training fit photos/ --recipe insects --out runs/photos

The start weights were trained on 1,022 insects of iNaturalist. On leaves they may be worse than
others (docs/training.md), and `--recipe auto` says on which photos. Steps as of
`fast`; a picture costs 5.1 times the multiply-adds of that one, and so does training.
"""

import msgspec

from training.recipes import fast

RECIPE = msgspec.structs.replace(fast.RECIPE, weights="inat-insects", alpha=1.0)
