"""The scores of `make demo` by epoch, on the images that it validates with, of our detector and of the stock one.

Run it after `make demo COMPARE=1`: `.venv/bin/python -m benchmarks.learning_curve`; then
`.venv/bin/python -m docs.pictures`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from demo.__main__ import IMAGE_SIZE, RESULT, SHEET

from .scores import read_scores

CURVES = Path("benchmarks/results/learning_curve.json")
DETECTIONS = Path("docs/pictures/detections.jpg")


def main() -> None:
    """Write the scores as JSON, and put the detections among the pictures of the documentation."""
    if not RESULT.is_file():
        raise SystemExit(f"{RESULT} is not there yet; run `make demo COMPARE=1` first")
    models = []
    for trained in json.loads(RESULT.read_text()):
        scores = read_scores(Path(trained["folder"], "results.csv"), digits=3)
        models.append({"model": trained["model"], "minutes": round(trained["minutes"], 1), **scores})
        print(f"{trained['model']}: {' '.join(f'{name} {column[-1]}' for name, column in scores.items())}")
    CURVES.write_text(json.dumps({"image_size": IMAGE_SIZE, "models": models}, indent=1) + "\n")
    shutil.copyfile(SHEET, DETECTIONS)


if __name__ == "__main__":
    main()
