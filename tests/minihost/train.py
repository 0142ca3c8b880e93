"""Stands for the training script of a checkout."""
