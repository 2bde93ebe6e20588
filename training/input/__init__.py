"""From photos to batches: cache, sampling, augmentation."""
