"""SI-SNRi against fast_bss_eval; which examples count, and for how much."""

import itertools

import fast_bss_eval
import keras
import numpy as np
import pytest
from numerics import run

from keras_sep.metrics import SISNRImprovement, si_snr_improvement


def case(num_sources, batch=4, samples=300, seed=0):
    """References, and estimates of them in another order, with errors of any size."""
    rng = np.random.default_rng(seed)
    references = rng.normal(size=(batch, num_sources, samples))
    size = 10 ** rng.uniform(-2, 0.5, (batch, 1, 1))
    estimates = references[:, rng.permutation(num_sources)]
    estimates = estimates + size * rng.normal(size=references.shape) + 0.3
    return references.astype("float32"), estimates.astype("float32")


def expected(references, estimates, mixture=None):
    """SI-SNRi of each example."""
    references, estimates = references.astype("float64"), estimates.astype("float64")
    if mixture is None:
        mixture = references.sum(1)
    mixture = np.broadcast_to(mixture[:, None], references.shape).astype("float64")
    one_by_one = (x.reshape(-1, 1, x.shape[-1]) for x in (references, mixture))
    before = fast_bss_eval.si_sdr(*one_by_one, zero_mean=True).reshape(references.shape[:2])
    after = fast_bss_eval.si_sdr(references, estimates, zero_mean=True)
    return after.mean(-1) - before.mean(-1)


def result(*arguments, **keywords):
    metric = SISNRImprovement()
    metric.update_state(*arguments, **keywords)
    return float(metric.result())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("num_sources", [2, 3, 4])
def test_equals_fast_bss_eval(num_sources, seed):
    references, estimates = case(num_sources, seed=seed)
    mean = expected(references, estimates).mean()
    assert result(references, estimates) == pytest.approx(mean, abs=1e-3)


@pytest.mark.parametrize("num_sources", [1, 2])
def test_a_given_mixture_is_the_unprocessed_one(num_sources):
    references, estimates = case(num_sources)
    noise = np.random.default_rng(9).normal(size=(4, 300)).astype("float32")
    mixture = references.sum(1) + noise
    mean = expected(references, estimates, mixture).mean()
    assert result(references, estimates, mixture=mixture) == pytest.approx(mean, abs=1e-3)


@pytest.mark.parametrize("num_sources", [2, 3])
def test_in_a_fixed_order(num_sources):
    """The estimates of `case` are in another order: the mean over the sources one by one."""
    references, estimates = case(num_sources)
    pairs = zip(*(np.split(x, num_sources, axis=1) for x in (references, estimates)), strict=True)
    mixture = references.sum(1)
    one_by_one = [expected(reference, estimate, mixture) for reference, estimate in pairs]
    values = run(lambda *x: si_snr_improvement(*x, fixed_order=True), references, estimates)
    np.testing.assert_allclose(values, np.mean(one_by_one, axis=0), atol=1e-3)
    metric = SISNRImprovement(fixed_order=True)
    assert SISNRImprovement.from_config(metric.get_config()).fixed_order
    metric.update_state(references, estimates)
    assert float(metric.result()) == pytest.approx(np.mean(one_by_one), abs=1e-3)


def test_only_in_a_fixed_order_swapped_sources_are_wrong():
    references, _ = case(2)
    swapped = references[:, ::-1] + 1e-3
    assert result(references, swapped) > 50
    metric = SISNRImprovement(fixed_order=True)
    metric.update_state(references, swapped)
    assert float(metric.result()) < 0


def test_the_mixture_itself_improves_nothing():
    references, _ = case(2)
    estimates = np.repeat(references.sum(1, keepdims=True), 2, axis=1)
    assert result(references, estimates) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("level", [0.0, -3.3])
@pytest.mark.parametrize("silent", [(1,), (0, 3)])
def test_silent_references_weigh_nothing(silent, level):
    """The mean over the sounding ones, with the estimates of all that are best for them."""
    references, estimates = case(4)
    references[:, list(silent)] = level
    sounding = np.delete(references, silent, axis=1)
    choices = itertools.combinations(range(4), 4 - len(silent))
    best = np.max([expected(sounding, estimates[:, list(choice)]) for choice in choices], axis=0)
    values = run(si_snr_improvement, references, estimates)
    np.testing.assert_allclose(values, best, atol=1e-3)
    assert result(references, estimates) == pytest.approx(best.mean(), abs=1e-3)


def test_examples_of_at_least_two_speakers_count():
    references, estimates = case(3)
    references[1, 0] = references[2, :2] = references[3] = 0
    values = run(si_snr_improvement, references, estimates)
    assert np.all(np.isfinite(values))
    assert values[3] == 0
    assert result(references, estimates) == pytest.approx(values[:2].mean(), abs=1e-3)
    assert result(references[2:], estimates[2:]) == 0


@pytest.mark.parametrize("level", [0.0, 0.1, -3.3])
def test_a_lone_speaker_does_not_count(level):
    references, estimates = case(2)
    alone = expected(references, estimates)[1:].mean()
    references[0, 1] = level
    assert result(references, estimates) == pytest.approx(alone, abs=1e-3)
    assert result(references[:1], estimates[:1]) == 0


def test_sample_weight():
    references, estimates = case(3)
    weight = np.array([0.0, 1.0, 2.0, 0.5])
    mean = np.average(expected(references, estimates), weights=weight)
    weighted = result(references, estimates, sample_weight=weight)
    assert weighted == pytest.approx(mean, abs=1e-3)


def test_averages_over_batches_and_resets():
    references, estimates = case(2, batch=5)
    metric = SISNRImprovement(name="mine")
    metric.update_state(references[:4], estimates[:4])
    metric.update_state(references[4:], estimates[4:])
    mean = expected(references, estimates).mean()
    assert float(metric.result()) == pytest.approx(mean, abs=1e-3)
    metric.reset_state()
    assert float(metric.result()) == 0
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert again.get_config() == metric.get_config()


def test_in_evaluate():
    references, estimates = case(2)
    model = keras.Sequential([keras.Input((2, None)), keras.layers.Identity()])
    model.compile(loss="mse", metrics=[SISNRImprovement()])
    values = model.evaluate(estimates, references, batch_size=3, verbose=0, return_dict=True)
    mean = expected(references, estimates).mean()
    assert values["si_snr_improvement"] == pytest.approx(mean, abs=1e-3)
