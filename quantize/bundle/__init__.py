"""From a judged int8 model to a bundle."""
