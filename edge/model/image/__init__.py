"""From the bytes of a picture to the tensor that a model is shown; shared with training."""
