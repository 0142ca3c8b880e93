"""Runtimes that YOLOv5 does not run itself, each in an environment of its own, which `make test-exports` sets up."""
