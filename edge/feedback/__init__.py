"""Pictures to learn from: which are kept, where, and whether the camera's view drifts."""
