"""Text as it comes from outside: encodings, what can be printed, addresses on the web.

Imports nothing of ours.
"""
