"""Model bundles, ``NAME-VERSION.wtr`` (docs/bundle.md): written, read, verified."""
