"""TFLite files, read and written: graph, metadata, memory, Edge TPU."""
