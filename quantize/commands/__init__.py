"""``python -m quantize ...``, one file a subcommand."""
