"""What pytest is told on its command line."""

import subprocess
import sys
from pathlib import Path


def test_settings_of_another_project_are_refused(tmp_path):
    """Without the = pytest reads the checkout's settings, as a clone of today's YOLOv5 has them, in place of ours."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "--collect-only", "--yolov5", tmp_path, Path(__file__)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 4
    assert "write --yolov5=path, with the =" in done.stderr
