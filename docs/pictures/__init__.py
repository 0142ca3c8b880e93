"""Draws the pictures of the documentation from the real model and the real yaml: `python -m docs.pictures`."""
