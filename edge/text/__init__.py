"""Text as it comes from outside: encodings, pipes, what can be printed, addresses on the web.

Imports nothing of ours.
"""
