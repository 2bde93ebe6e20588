"""From what frames say to a decided event and its messages."""
