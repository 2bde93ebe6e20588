"""Structured pruning: whole channels out of a network, which makes it faster on every kernel.

`quantize.keras.channels` finds the channels that have to go together and builds the smaller
network, `cost` says what each is worth in multiply-adds and weights, `importance` how much it
matters, `select` takes the cheapest loss first, `shrink` does all that in steps with fine-tuning in
between.
"""
