"""Tests of what happens to a checkout on disk."""
