"""Tests of `python -m models.backbone`."""
