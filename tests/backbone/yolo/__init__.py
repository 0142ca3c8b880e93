"""Tests of what the inserted lines call, and of the yamls."""
