"""Builds and runs models in patched checkouts, one or many."""
