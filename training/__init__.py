"""Desktop side: labelled photos -> checked data -> float model -> honest report."""
