"""The curves of a study, by model and recipe: their medians, and whether they have become flat."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

WINDOW = 5  # epochs, whose mean is compared
FLAT = 0.02  # the most that a flat curve gains


@dataclass(frozen=True)
class Combination:
    """A model by a recipe, trained with several seeds."""

    model: str
    recipe: str
    runs: list[dict[str, Any]]

    def curves(self, score: str = "mAP50-95") -> list[list[float]]:
        """Return the scores by epoch, for each seed."""
        return [run[score] for run in self.runs]

    def median(self, score: str = "mAP50-95") -> list[float]:
        """Return the median of the seeds by epoch."""
        return [statistics.median(values) for values in zip(*self.curves(score))]

    def late_gain(self) -> float:
        """Return what the median gains in the last quarter of the epochs: the mean of the epochs at its two ends."""
        median = self.median()
        begin = len(median) * 3 // 4
        window = min(WINDOW, len(median) - begin)
        return statistics.mean(median[-window:]) - statistics.mean(median[begin - window : begin])

    def below_best(self) -> float:
        """Return how far the last epoch of the median is below its best."""
        median = self.median()
        return max(median) - median[-1]

    def minutes(self) -> float:
        """Return how long a training took."""
        return statistics.median(run["minutes"] for run in self.runs)


def combinations(study: dict[str, Any]) -> list[Combination]:
    """Return the combinations of a study, in the order of its file."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in study["runs"]:
        runs.setdefault((run["model"], run["recipe"]), []).append(run)
    return [Combination(model, recipe, of_both) for (model, recipe), of_both in runs.items()]
