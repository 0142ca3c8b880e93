"""Builds and runs what was patched, in one checkout or in many."""
