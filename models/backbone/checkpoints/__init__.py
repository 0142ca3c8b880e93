"""Reads checkpoints without running anything in them."""
