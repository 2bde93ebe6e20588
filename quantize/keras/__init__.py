"""The door to Keras 2 and TFMOT, and the loop that fine-tunes."""
