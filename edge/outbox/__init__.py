"""The durable queue on disk: its writer, its repair, its dead letters."""
