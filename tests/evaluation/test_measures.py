"""Measures against their definitions, and values that do not exist."""

import itertools
import sys
from pathlib import Path

import keras
import numpy as np
import pesq
import pystoi
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_sep.data import audio
from keras_sep.evaluation.measures import METRICS, check_metrics, describe_pesq, measure
from keras_sep.metrics import si_snr_improvement

MIXTURES = Path(__file__).parents[2] / "examples" / "data" / "mixtures"
RATIOS = ("si-snr", "si-snri", "sdr", "sdri")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def speech():
    """A mixture of two voices and these, 6 s at 8 kHz."""
    folder = MIXTURES / "june_wallack_and_maxim_topal"
    names = ("mixture", "reference1", "reference2")
    mixture, *voices = (
        soundfile.read(folder / f"{name}.wav", dtype="float32")[0] for name in names
    )
    return mixture, np.stack(voices)


def si_snr(reference, estimate):
    reference, estimate = (
        x.astype("float64") - x.mean(dtype="float64") for x in (reference, estimate)
    )
    target = (estimate @ reference) / (reference @ reference) * reference
    return 10 * np.log10((target @ target) / np.square(estimate - target).sum())


def sdr(reference, estimate, taps=512):
    """BSS-eval: the target is what delayed copies of the reference make of the estimate."""
    reference, estimate = reference.astype("float64"), np.pad(estimate, (0, taps - 1))
    copies = np.stack([np.pad(reference, (lag, taps - 1 - lag)) for lag in range(taps)], axis=1)
    target = copies @ np.linalg.solve(copies.T @ copies, copies.T @ estimate)
    return 10 * np.log10((target @ target) / np.square(estimate - target).sum())


@settings(deadline=None)
@given(num_sources=st.integers(1, 4), samples=st.integers(20, 200), seed=st.integers(0, 2**20))
def test_si_snr_of_the_best_of_all_orders(num_sources, samples, seed):
    references = noise(num_sources, samples, seed=seed)
    estimates = noise(num_sources, samples, seed=seed + 1)
    mixture = references.sum(axis=0) + noise(samples, seed=seed + 2)
    orders = list(itertools.permutations(range(num_sources)))
    means = [
        np.mean([si_snr(*pair) for pair in zip(references, estimates[list(order)], strict=True)])
        for order in orders
    ]
    order, values, problems = measure(mixture, references, estimates, 8000, ("si-snr", "si-snri"))
    assert not problems
    assert values["si-snr"] == pytest.approx(max(means), abs=1e-6)
    assert order == list(orders[np.argmax(means)])
    unprocessed = np.mean([si_snr(reference, mixture) for reference in references])
    assert values["si-snri"] == pytest.approx(max(means) - unprocessed, abs=1e-6)


def test_sdr_against_least_squares():
    references = noise(2, 1500)
    # Echoes are forgiven, the other voice and noise are not.
    echoes = np.stack([np.convolve(x, noise(400, seed=7) / 30)[:1500] for x in references])
    estimates = references + echoes + 0.5 * references[::-1] + 0.3 * noise(2, 1500, seed=2)
    mixture = references.sum(axis=0)
    expected = np.mean([sdr(*pair) for pair in zip(references, estimates, strict=True)])
    unprocessed = np.mean([sdr(reference, mixture) for reference in references])
    order, values, _ = measure(mixture, references, estimates[::-1], 8000, RATIOS)
    assert order == [1, 0]
    assert values["sdr"] == pytest.approx(expected, abs=1e-6)
    assert values["sdri"] == pytest.approx(expected - unprocessed, abs=1e-6)
    assert values["sdr"] > values["si-snr"] + 1


def test_the_metric_of_training_agrees():
    references, estimates = noise(3, 2000), noise(3, 2000, seed=1) + noise(3, 2000)
    mixture = references.sum(axis=0) + 0.3 * noise(2000, seed=2)
    _, values, _ = measure(mixture, references, estimates, 8000, ("si-snri",))
    tensors = [keras.ops.convert_to_tensor(x[None]) for x in (references, estimates, mixture)]
    assert values["si-snri"] == pytest.approx(float(si_snr_improvement(*tensors)[0]), abs=1e-3)


def test_perfect_estimates_and_the_unprocessed_mixture():
    mixture, voices = speech()
    order, values, problems = measure(mixture, voices, -0.5 * voices[::-1], 8000)
    assert (order, problems) == ([1, 0], {})
    assert [values["si-snr"], values["sdr"]] == pytest.approx([100, 100], abs=1e-3)
    assert values["stoi"] == pytest.approx(1, abs=1e-6)
    assert values["pesq"] == pytest.approx(4.549, abs=1e-2)  # the most that P.862.1 gives
    _, values, _ = measure(mixture, voices, np.stack([mixture, mixture]), 8000)
    assert [values["si-snri"], values["sdri"]] == pytest.approx([0, 0], abs=1e-9)
    assert set(values) == set(METRICS)


@pytest.mark.parametrize("scale", [1e-12, 1e6])
def test_scale_makes_no_difference(scale):
    mixture, voices = speech()
    estimates = voices + 0.3 * voices[::-1]
    _, expected, _ = measure(mixture, voices, estimates, 8000, RATIOS)
    _, values, _ = measure(scale * mixture, scale * voices, estimates / scale, 8000, RATIOS)
    assert values == pytest.approx(expected, abs=1e-3)


def test_stoi_and_pesq_are_those_of_the_pairs():
    mixture, voices = speech()
    estimates = (voices + 0.3 * voices[::-1])[::-1]
    _, values, _ = measure(mixture, voices, estimates, 8000, ("stoi", "pesq"))
    pairs = list(zip(voices, estimates[::-1], strict=True))
    stoi = [pystoi.stoi(*map(np.float64, pair), 8000) for pair in pairs]
    assert values["stoi"] == pytest.approx(np.mean(stoi), abs=1e-6)
    narrow_band = [pesq.pesq(8000, *pair, "nb") for pair in pairs]
    assert values["pesq"] == pytest.approx(np.mean(narrow_band), abs=1e-3)


@pytest.mark.parametrize(
    ("rate", "said", "pesq_rate", "mode"),
    [
        (8000, "narrow band at 8000 Hz", 8000, "nb"),
        (11025, "narrow band at 8000 Hz, resampled from 11025 Hz", 8000, "nb"),
        (16000, "wide band at 16000 Hz", 16000, "wb"),
        (44100, "wide band at 16000 Hz, resampled from 44100 Hz", 16000, "wb"),
    ],
)
def test_pesq_at_other_rates(rate, said, pesq_rate, mode):
    assert describe_pesq(rate) == said
    mixture, voices = (audio.resample(x.T, 8000, rate).T for x in speech())
    voices, estimates = voices[:1], mixture[None]
    _, values, _ = measure(mixture, voices, estimates, rate, ("pesq",))
    pair = [audio.resample(np.float64(x[0]), rate, pesq_rate) for x in (voices, estimates)]
    assert values["pesq"] == pytest.approx(pesq.pesq(pesq_rate, *pair, mode), abs=1e-3)


def test_long_signals_are_cut_for_pesq():
    """Its code writes beyond its arrays where there are more than 50 utterances."""
    _, voices = speech()
    word = voices[:1, 8000:10400]  # with 0.3 s of pause, 50 of them would be 30 s
    long = np.tile(np.pad(word, ((0, 0), (0, 2400))), 100)
    estimates = long + 0.01 * noise(*long.shape)
    _, values, _ = measure(long[0], long, estimates, 8000, ("pesq",))
    parts = [np.array_split(x[0], 3) for x in (long, estimates)]
    expected = np.mean([pesq.pesq(8000, *part, "nb") for part in zip(*parts, strict=True)])
    assert values["pesq"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("which", "value", "problem"),
    [
        ("references", 0, "silent reference"),
        ("references", 0.5, "silent reference"),
        ("estimates", 0, "silent estimate"),
        ("estimates", np.nan, "estimate with NaN or infinite samples"),
        ("mixture", 0, "silent mixture"),
    ],
)
def test_signals_without_measures(which, value, problem):
    signals = {
        "mixture": noise(1, 8000),
        "references": noise(2, 8000),
        "estimates": noise(2, 8000, seed=1),
    }
    signals[which][-1] = value
    signals["mixture"] = signals["mixture"][0]
    assert measure(**signals, sample_rate=8000) == (None, {}, dict.fromkeys(METRICS, problem))


def test_signals_without_some_measures(monkeypatch):
    short = noise(2, 3000)
    _, values, problems = measure(short[0] + short[1], short, short, 8000)
    assert set(values) == {*RATIOS, "pesq"}
    assert "fewer than 30 frames" in problems["stoi"]
    # Long enough, but not where it sounds.
    padded = np.pad(short, ((0, 0), (0, 8000)))
    _, _, problems = measure(padded[0] + padded[1], padded, padded, 8000)
    assert "fewer than 30 frames" in problems["stoi"]
    shorter = noise(2, 1000)
    _, values, problems = measure(shorter[0] + shorter[1], shorter, shorter, 8000)
    assert set(values) == set(RATIOS)
    assert "1/4 of a second" in problems["pesq"]
    burst = np.pad(noise(1, 400), ((0, 0), (4000, 4000)))
    _, _, problems = measure(burst[0], burst, burst, 8000)
    assert problems["pesq"] == "no utterances detected"

    def singular(*_, **__):
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr("fast_bss_eval.numpy.sdr_loss", singular)
    _, values, problems = measure(short[0] + short[1], short, short, 8000, RATIOS)
    assert set(values) == {"si-snr", "si-snri"}
    assert set(problems) == {"sdr", "sdri"}


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(10,\), \(2, 10\), \(3, 10\)"):
        measure(noise(10), noise(2, 10), noise(3, 10), 8000)


@pytest.mark.parametrize(("metrics", "message"), [((), "none"), (("si-snr", "sir"), "got sir")])
def test_metrics_that_do_not_exist(metrics, message):
    with pytest.raises(ValueError, match=message):
        check_metrics(metrics)


@pytest.mark.parametrize(
    ("metric", "package"), [("sdri", "fast_bss_eval"), ("stoi", "pystoi"), ("pesq", "pesq")]
)
def test_packages_that_are_missing(monkeypatch, metric, package):
    monkeypatch.setitem(sys.modules, package, None)
    check_metrics(("si-snr", "si-snri"))
    with pytest.raises(ImportError, match=rf"{metric} needs {package}.*keras-sep\[eval\]"):
        check_metrics(("si-snr", metric))
