"""Zeros, clusters, fewer channels, a smaller input, and what they cost."""
