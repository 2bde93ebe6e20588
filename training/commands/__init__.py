"""``python -m training ...``, one file for a group of subcommands."""
