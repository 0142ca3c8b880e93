"""Reads checkpoints without executing anything in them."""
