"""A model and its contract: bundle, preprocessing, runtimes, scores, tiles.

What `training` and `quantize` may import of `edge`, with `messages`, `config`, `text`, `errors`.
"""
