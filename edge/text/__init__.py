"""Text as it comes from outside: encodings, pipes, what can be printed, addresses on the web, and
what is said of values that are refused.

Imports nothing of ours.
"""
