"""Tables in Markdown of the results on a GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..markdown import table

SETTINGS = ("what", "backbone", "precision", "dtype", "layout", "how", "batch")


def write_tables(folder: Path) -> str:
    """Write `tables.md` into a folder of results, and return it."""
    text = tables_of(folder)
    (folder / "tables.md").write_text(text)
    return text


def tables_of(folder: Path) -> str:
    """Return the tables of all results in a folder; "" if there are none."""
    parts = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        parts.append(f"{path.stem}: {content['environment']['device']}, torch {content['environment']['torch']}")
        by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in content["rows"]:
            settings = [name for name in SETTINGS if name in row]
            figures = [name for name in row if name not in SETTINGS]
            by_columns.setdefault((*settings, *figures), []).append(row)
        parts += [
            table(names, ([cell(row[name]) for name in names] for row in rows)) for names, rows in by_columns.items()
        ]
    return "\n\n".join(parts)


def cell(value: Any) -> str:
    """Format one figure."""
    if isinstance(value, dict) and "median" in value:
        return f"{value['median']:.2f}"
    if isinstance(value, dict) and "ms" in value:
        memory = f" {value['MiB']} MiB" if value.get("MiB") else ""
        return f"{value['ms']:.2f} ms{memory}"
    return str(value)
