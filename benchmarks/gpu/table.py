"""The tables of what was measured on a GPU, in Markdown, from the files of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SETTINGS = ("what", "backbone", "precision", "dtype", "layout", "how", "batch")


def write_tables(folder: Path) -> str:
    """Write `tables.md` into a folder of results, and return it."""
    parts = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        parts.append(f"{path.stem}, {content['environment']['device']}, torch {content['environment']['torch']}\n")
        parts += [line(row) for row in content["rows"]]
        parts.append("")
    text = "\n".join(parts)
    (folder / "tables.md").write_text(text)
    return text


def line(row: dict[str, Any]) -> str:
    """Return one row, in one line."""
    settings = " ".join(str(row[name]) for name in SETTINGS if name in row)
    figures = [f"{name} {cell(value)}" for name, value in row.items() if name not in SETTINGS]
    return f"- {settings}: " + ", ".join(figures)


def cell(value: Any) -> str:
    """Word one figure."""
    if isinstance(value, dict) and "median" in value:
        return f"{value['median']:.2f}"
    if isinstance(value, dict) and "ms" in value:
        memory = f" {value['MiB']} MiB" if value.get("MiB") else ""
        return f"{value['ms']:.2f} ms{memory}"
    return str(value)
