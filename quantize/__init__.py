"""Desktop side: float model -> pruned, quantization-aware trained int8 bundle."""
