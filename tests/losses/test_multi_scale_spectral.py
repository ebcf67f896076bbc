"""The spectral loss against PyTorch's STFT; broadcasting; silence."""

import keras
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from numerics import gradients, run

from keras_sep.losses import FixedOrder, MultiScaleSpectral, PermutationInvariant

RNG = np.random.default_rng(0)
DEFAULT = {
    "fft_sizes": [512, 1024, 2048],
    "hop_sizes": [50, 120, 240],
    "win_lengths": [240, 600, 1200],
}
SMALL = {"fft_sizes": [32, 64], "hop_sizes": [7, 16], "win_lengths": [24, 64]}


def case(shape=(2, 3, 200), size=0.3):
    references, noise = RNG.normal(size=(2, *shape)).astype("float32")
    return references, references + np.float32(size) * noise


def by_definition(reference, estimate, sizes):
    """Of one waveform, with PyTorch's STFT in float64."""
    losses = []
    for fft, hop, win in zip(*sizes.values(), strict=True):
        window = torch.hann_window(win, dtype=torch.float64)
        y, e = (
            torch.stft(torch.from_numpy(np.float64(x)), fft, hop, win, window, return_complex=True)
            .abs()
            .clamp(min=1e-7**0.5)
            for x in (reference, estimate)
        )
        convergence = torch.linalg.norm(y - e) / torch.linalg.norm(y)
        losses.append(float(convergence + (y.log() - e.log()).abs().mean()))
    return np.mean(losses)


LOSSES = [MultiScaleSpectral(**sizes, reduction=None) for sizes in (SMALL, DEFAULT)]


def loss(references, estimates, sizes=SMALL):
    return run(LOSSES[sizes is DEFAULT], references, estimates)


@pytest.mark.parametrize(("sizes", "samples"), [(DEFAULT, 1100), (SMALL, 200)])
@pytest.mark.parametrize("size", [0.01, 1.0])
def test_values(sizes, samples, size):
    references, estimates = case((2, 3, samples), size)
    references[0, 0] = estimates[1, 1] = 0
    expected = [
        [by_definition(*pair, sizes) for pair in zip(*example, strict=True)]
        for example in zip(references, estimates, strict=True)
    ]
    np.testing.assert_allclose(loss(references, estimates, sizes), expected, rtol=1e-3)


def test_default_sizes():
    config = MultiScaleSpectral().get_config()
    assert {name: config[name] for name in DEFAULT} == DEFAULT


def test_compares_pairs():
    references, estimates = case()
    matrix = [
        [[by_definition(y, e, SMALL) for e in estimates[b]] for y in references[b]]
        for b in range(2)
    ]
    pairwise = loss(references[:, :, None], estimates[:, None])
    np.testing.assert_allclose(pairwise, matrix, rtol=1e-3)
    shuffled = estimates[:, [2, 0, 1]]
    permuted = run(PermutationInvariant(MultiScaleSpectral(**SMALL)), references, shuffled)
    in_order = run(FixedOrder(MultiScaleSpectral(**SMALL)), references, estimates)
    expected = np.trace(matrix, axis1=1, axis2=2).mean() / 3
    np.testing.assert_allclose([permuted, in_order], expected, rtol=1e-3)


@given(st.floats(0.1, 10))
def test_a_common_scale_and_sign_do_not_matter(scale):
    references, estimates = case((1, 200))
    changed = loss(-np.float32(scale) * references, np.float32(scale) * estimates)
    np.testing.assert_allclose(changed, loss(references, estimates), rtol=1e-2)


def test_gradients_are_finite_at_silence():
    sound, silence = RNG.normal(size=(2, 200)), np.zeros(200)
    sound[1, :100] = sound[0, :100]
    pairs = {
        "other sound": sound,
        "the same sound": (sound[0], sound[0]),
        "silence for sound": (sound[0], silence),
        "sound for silence": (silence, sound[0]),
        "silence for silence": (silence, silence),
    }
    references, estimates = np.stack(list(pairs.values()), axis=1).astype("float32")
    (gradient,) = gradients(lambda x: ops.sum(LOSSES[0].call(references, x)), estimates)
    assert np.all(np.isfinite(gradient))
    trains = dict(zip(pairs, np.any(gradient != 0, axis=-1), strict=True))
    assert trains["other sound"]
    assert trains["sound for silence"]
    losses = dict(zip(pairs, loss(references, estimates), strict=True))
    assert losses["the same sound"] == pytest.approx(0, abs=1e-6)
    assert losses["silence for silence"] == pytest.approx(0, abs=1e-6)


def test_half_precision_is_computed_in_float32():
    references, estimates = (ops.cast(x, "float16") for x in case((1, 200)))
    value = run(MultiScaleSpectral(**SMALL).call, references, estimates)
    assert value.dtype == "float32"
    exact = (ops.convert_to_numpy(ops.cast(x, "float32"))[0] for x in (references, estimates))
    assert value[0] == pytest.approx(by_definition(*exact, SMALL), rel=1e-3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fft_sizes": []}, "fft_sizes must have some sizes"),
        ({"hop_sizes": [7]}, r"hop_sizes must have 2 sizes, got \[7\]"),
        ({"win_lengths": [1, 2, 3]}, "win_lengths must have 2 sizes"),
        ({"hop_sizes": [7, 0]}, r"hop_sizes must be at least 1, got \[7, 0\]"),
        ({"win_lengths": [33, 64]}, r"at most fft_sizes, got \[33, 64\] for \[32, 64\]"),
    ],
    ids=str,
)
def test_wrong_sizes(changed, message):
    with pytest.raises(ValueError, match=message):
        MultiScaleSpectral(**(SMALL | changed))


@pytest.mark.parametrize(
    ("samples", "message"),
    [((32, 32), "got 32 samples for an FFT of 64"), ((200, 199), "as long as")],
    ids=str,
)
def test_wrong_lengths(samples, message):
    references, estimates = (np.zeros((1, length)) for length in samples)
    with pytest.raises(ValueError, match=message):
        MultiScaleSpectral(**SMALL).call(references, estimates)
    references, estimates = case((1, 33))
    assert np.isfinite(loss(references, estimates)).all()


def test_config():
    criterion = MultiScaleSpectral((32,), (7,), (24,), name="mine")
    again = keras.losses.deserialize(keras.losses.serialize(criterion))
    assert again.get_config() == criterion.get_config()
    assert (again.fft_sizes, again.hop_sizes, again.win_lengths) == ([32], [7], [24])
    assert keras.saving.get_registered_name(MultiScaleSpectral) == "keras_sep>MultiScaleSpectral"
