"""Measures of many mixtures, and what they are together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLINGS = 2000


@dataclass(frozen=True)
class MixtureScores:
    """Measures of one mixture, means over its sources.

    Attributes:
        name: The mixture.
        seconds: Its length.
        order: Index of the estimate of each source; None if all metrics are undefined.
        values: By metric.
        problems: For metrics without a value, why.
    """

    name: str
    seconds: float
    order: list[int] | None
    values: dict[str, float]
    problems: dict[str, str]


class Evaluation:
    """Measures of a data set.

    Args:
        metrics: Those that were taken.
        mixtures: Scores of each mixture.

    Attributes: The same.
    """

    def __init__(self, metrics: Sequence[str], mixtures: Sequence[MixtureScores]):
        self.metrics = tuple(metrics)
        self.mixtures = list(mixtures)

    def values(self, metric: str) -> np.ndarray:
        """Those of the mixtures that have one: `(number,)`."""
        scores = (mixture.values for mixture in self.mixtures)
        return np.array([values[metric] for values in scores if metric in values])

    def summary(self) -> dict[str, dict]:
        """By metric: number of `mixtures` that have a value, `mean`, `interval_95` and `quartiles`.

        The interval is of the mean, by the percentile bootstrap with 2000 seeded resamplings.
        All but the number are None where no mixture has a value; rounded to 4 decimals.
        """
        return {metric: summarize(self.values(metric)) for metric in self.metrics}

    def problems(self) -> Counter[tuple[str, str]]:
        """In how many mixtures a metric has no value for a reason, by (metric, reason)."""
        return Counter(item for mixture in self.mixtures for item in mixture.problems.items())

    def worst(self, number: int, metric: str) -> list[int]:
        """Indices of the mixtures with the lowest values, the lowest first."""
        measured = [i for i, mixture in enumerate(self.mixtures) if metric in mixture.values]
        return sorted(measured, key=lambda i: self.mixtures[i].values[metric])[:number]

    def to_dict(self) -> dict:
        """For JSON: `summary`, and `mixtures`, each with its values or None and why."""
        return {
            "summary": self.summary(),
            "mixtures": [
                {
                    "name": mixture.name,
                    "seconds": mixture.seconds,
                    "order": mixture.order,
                    **{
                        metric: round(mixture.values[metric], 4)
                        if metric in mixture.values
                        else None
                        for metric in self.metrics
                    },
                    **({"problems": mixture.problems} if mixture.problems else {}),
                }
                for mixture in self.mixtures
            ],
        }


def summarize(values: np.ndarray) -> dict:
    """See `Evaluation.summary`."""
    if not len(values):
        return {"mixtures": 0, "mean": None, "interval_95": None, "quartiles": None}
    resampled = np.random.default_rng(0).choice(values, (_RESAMPLINGS, len(values))).mean(axis=1)
    return {
        "mixtures": len(values),
        "mean": round(float(values.mean()), 4),
        "interval_95": np.percentile(resampled, [2.5, 97.5]).round(4).tolist(),
        "quartiles": np.percentile(values, [25, 50, 75]).round(4).tolist(),
    }
