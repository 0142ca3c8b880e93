"""The scores that YOLOv5's train.py writes after each epoch."""

from __future__ import annotations

import csv
from pathlib import Path

COLUMNS = {"mAP50": "metrics/mAP_0.5", "mAP50-95": "metrics/mAP_0.5:0.95"}  # our names of YOLOv5's columns


def read_scores(table: Path, digits: int = 4) -> dict[str, list[float]]:
    """Return the validation scores of each epoch in a results.csv, from 0 to 1; empty lists if there is no such file.

    A resumed training may repeat the epoch at which it was cut off; the last row of an epoch counts.
    """
    if not table.is_file():
        return {name: [] for name in COLUMNS}
    with table.open(newline="") as file:
        rows = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]
    by_epoch = {int(row["epoch"]): row for row in rows}
    return {name: [round(float(row[column]), digits) for row in by_epoch.values()] for name, column in COLUMNS.items()}
