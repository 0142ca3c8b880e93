"""The checkout on disk: what is installed, what a run would change, and the writing."""
