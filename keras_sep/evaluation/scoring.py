"""Separates the mixtures of a data set and measures what came out."""

from collections.abc import Callable, Sequence

from keras_sep.data import AudioError
from keras_sep.evaluation.example import Example
from keras_sep.evaluation.measures import METRICS, check_metrics, measure
from keras_sep.evaluation.results import Evaluation, MixtureScores


def evaluate(
    separator,
    data: Sequence[Example],
    metrics: Sequence[str] = METRICS,
    progress: Callable[[int, int], object] | None = None,
) -> Evaluation:
    """Evaluates a separator on a data set.

    Each mixture is separated by itself, as the separator does with any recording. A mixture whose
    file is damaged, or of which the model gives NaN, has no values, and the reason is noted.

    JAX compiles a model anew for each length: mixtures of one length are faster there.

    Args:
        separator: A `keras_sep.inference.Separator`.
        data: Examples with sources of its number at its rate, as `open_data` gives.
        metrics: Of `METRICS`; see `keras_sep.evaluation.measures.measure`.
        progress: Called with the number of mixtures that are done and of all.

    Raises:
        ValueError: There is no such metric, or the sources are not as many as the separator's.
        ImportError: A package that a metric needs is missing.
    """
    check_metrics(metrics)
    mixtures = []
    for index in range(len(data)):
        mixtures.append(_score(separator, data, index, metrics))
        if progress:
            progress(len(mixtures), len(data))
    return Evaluation(metrics, mixtures)


def _score(separator, data, index, metrics):
    def undefined(name, seconds, error):
        return MixtureScores(name, seconds, None, {}, dict.fromkeys(metrics, str(error)))

    try:
        example = data[index]
    except AudioError as error:
        return undefined(f"mixture {index}", 0.0, error)
    seconds = len(example.mixture) / separator.sample_rate
    try:
        estimates = separator.separate(example.mixture)
    except ValueError as error:
        return undefined(example.name, seconds, error)
    measured = measure(example.mixture, example.sources, estimates, separator.sample_rate, metrics)
    return MixtureScores(example.name, seconds, *measured)
