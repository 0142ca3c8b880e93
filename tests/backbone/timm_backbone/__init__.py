"""Tests of timm's models as backbones."""
