"""Tests of what builds and runs a patched checkout."""
