"""Tests on real YOLOv5, by its own commands."""
