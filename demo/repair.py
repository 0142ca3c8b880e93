"""Repairs old releases of YOLOv5 for today's NumPy, torch and Pillow; they fail there with or without the patch."""

from __future__ import annotations

import re
from pathlib import Path

# regular expressions for utils/*.py, and their replacements
REPAIRS = [
    (r"\bnp\.int\b", "int"),  # up to v6.1; the alias left NumPy in 1.24
    (r"(gain\[[23]\]) - 1\b", r"\1.long() - 1"),  # up to v6.0; torch 1.10 no longer clamps integers to a float
    (r"\bfont\.getsize\((\w+)\)", r"font.getbbox(\1)[2:]"),  # up to v7.0; the method left Pillow in 10
]


def repair(root: Path) -> None:
    """Repair a copy of a checkout, in place; later releases stay as they are."""
    for path in sorted((root / "utils").glob("*.py")):
        text = repaired = path.read_bytes().decode("utf-8")
        for pattern, replacement in REPAIRS:
            repaired = re.sub(pattern, replacement, repaired)
        if repaired != text:
            path.write_bytes(repaired.encode("utf-8"))
            print(f"repaired for today's packages: {path.relative_to(root)}")
