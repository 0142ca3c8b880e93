"""The project as it was at earlier commits, for the tests of updates."""

import io
import subprocess
import tarfile

import pytest

from tests import REPOSITORY


def unpack(commit, folder):
    """Write the patch of a commit into a folder, and return it; skip the test where there is no history."""
    command = ["git", "archive", commit, "apply_patch.py", "patches", "models"]
    archive = subprocess.run(command, cwd=REPOSITORY, capture_output=True)
    if archive.returncode:
        pytest.skip(f"no history here: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder
