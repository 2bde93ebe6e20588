"""Many ways to make one model smaller, tried as independent jobs and laid side by side.

`trials` runs them, `points` measures what came out, `report` says which bought what.
"""
