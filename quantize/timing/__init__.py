"""How long models take, here or over SSH."""
