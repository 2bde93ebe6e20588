"""One running camera: put together, watched, changed from afar."""
