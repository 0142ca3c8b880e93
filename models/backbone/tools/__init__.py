"""The commands of `python -m models.backbone`, which users run in a patched checkout."""
