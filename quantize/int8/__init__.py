"""From a float model to int8: ranges, rounding, bias, training."""
