"""Measurements on a GPU, each step in a process of its own; `python -m benchmarks.gpu` runs them all."""
