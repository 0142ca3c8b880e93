"""Tests of the documentation, the demonstration and the tests' own tools."""
