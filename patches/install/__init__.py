"""The checkout on disk: the files to install, the plan of a run, and its writing."""
