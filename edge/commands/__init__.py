"""``wheatear ...``: what a person types. The only place that prints and exits."""
