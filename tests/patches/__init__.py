"""Tests of the patch program's command line; its rooms are the folders here."""
