"""The scores of `make demo` by epoch, on the images that it validates with, of our detector and of the stock one.

Run it after `make demo COMPARE=1`: `.venv/bin/python -m benchmarks.learning_curve`; then
`.venv/bin/python -m docs.pictures`.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

from demo.__main__ import IMAGE_SIZE, RESULT, SHEET

CURVES = Path("benchmarks/results/learning_curve.json")
DETECTIONS = Path("docs/pictures/detections.jpg")
SCORES = {"mAP50": "metrics/mAP_0.5", "mAP50-95": "metrics/mAP_0.5:0.95"}


def main() -> None:
    """Write the scores as JSON, and put the detections among the pictures of the documentation."""
    if not RESULT.is_file():
        raise SystemExit(f"{RESULT} is not there yet; run `make demo COMPARE=1` first")
    models = []
    for trained in json.loads(RESULT.read_text()):
        scores = read_scores(Path(trained["folder"], "results.csv"))
        models.append({"model": trained["model"], "minutes": round(trained["minutes"], 1), **scores})
        print(f"{trained['model']}: {' '.join(f'{name} {column[-1]}' for name, column in scores.items())}")
    CURVES.write_text(json.dumps({"image_size": IMAGE_SIZE, "models": models}, indent=1) + "\n")
    shutil.copyfile(SHEET, DETECTIONS)


def read_scores(table: Path) -> dict[str, list[float]]:
    """Return the validation scores of each epoch, from the table that YOLOv5 writes."""
    with table.open(newline="") as file:
        rows = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]
    return {name: [round(float(row[column]), 3) for row in rows] for name, column in SCORES.items()}


if __name__ == "__main__":
    main()
