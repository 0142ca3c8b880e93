"""Measurements behind the numbers of the README, one command each."""
