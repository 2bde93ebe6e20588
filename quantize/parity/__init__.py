"""Float against int8, and against what was asked for; the page about it."""
