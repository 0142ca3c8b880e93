"""Tests of what `python -m models.backbone look` draws."""
