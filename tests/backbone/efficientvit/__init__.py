"""Tests of EfficientViT and its weights."""
