"""TFLite files: facts in them, and models that are no bundle of ours."""
