"""report.html: one self-contained page about a run, for people who want to know what to trust."""
