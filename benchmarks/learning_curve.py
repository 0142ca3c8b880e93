"""The scores of `make demo` by epoch, on the images that it validates with.

Run after `make demo`: `.venv/bin/python -m benchmarks.learning_curve`, then `.venv/bin/python -m docs.pictures`.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from demo.__main__ import BUILD, IMAGE_SIZE, MODEL

RESULT = Path("benchmarks/results/learning_curve.json")
SCORES = {"mAP50": "metrics/mAP_0.5", "mAP50-95": "metrics/mAP_0.5:0.95"}


def main() -> None:
    """Write the scores as JSON."""
    table = BUILD / "train" / "results.csv"
    if not table.is_file():
        raise SystemExit(f"{table} is not there yet; run `make demo` first")
    scores = read_scores(table)
    result = {"model": MODEL, "image_size": IMAGE_SIZE, "epochs": scores}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{RESULT}: {' '.join(f'{name} {column[-1]}' for name, column in scores.items())}")


def read_scores(table: Path) -> dict[str, list[float]]:
    """Return the validation scores of each epoch, from the table that YOLOv5 writes."""
    with table.open(newline="") as file:
        rows = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]
    return {name: [round(float(row[column]), 3) for row in rows] for name, column in SCORES.items()}


if __name__ == "__main__":
    main()
