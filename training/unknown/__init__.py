"""The unknown rule that a bundle carries: made pictures, fitting, and what it catches."""
