"""Tests of what all backbones use; the rooms of models/backbone are the folders here."""
