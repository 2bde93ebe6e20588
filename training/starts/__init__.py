"""Start weights: where they come from, and what is made of them before a network takes them."""
