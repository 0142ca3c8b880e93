"""What a user runs in a patched checkout: `python -m models.backbone`."""
