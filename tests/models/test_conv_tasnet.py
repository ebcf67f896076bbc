"""Conv-TasNet: the paper's numbers and equations, any length, causality, files across backends."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerics import run
from numpy_conv_tasnet import conv_tasnet, randomize

from keras_sep.losses import SISNR, PermutationInvariant
from keras_sep.metrics import SISNRImprovement
from keras_sep.models import ConvTasNet

SMALL = {
    "filters": 12,
    "bottleneck_dim": 4,
    "hidden_dim": 6,
    "skip_dim": 3,
    "num_blocks": 2,
    "num_repeats": 1,
}


def small(**arguments):
    model = ConvTasNet(**(SMALL | arguments))
    model.build((None, None))
    return randomize(model)


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.fixture(scope="module")
def by_num_sources():
    return {num_sources: small(num_sources=num_sources) for num_sources in range(1, 5)}


def test_the_papers_best_configuration():
    model = ConvTasNet(num_sources=2)
    model.build((None, None))
    assert model.count_params() == 4_984_881
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == 4_984_881


@given(st.integers(1, 4), st.integers(1, 2), st.integers(1, 60))
def test_sources_are_as_long_as_the_mixture(by_num_sources, num_sources, batch, samples):
    model = by_num_sources[num_sources]
    sources = run(model, normal(batch, samples))
    assert sources.shape == (batch, num_sources, samples)
    assert model.compute_output_shape((batch, samples)) == sources.shape
    assert np.all(np.isfinite(sources))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"kernel_size": 7, "strides": 3, "mask_activation": "relu"},
        {"kernel_size": 32, "strides": 2, "mask_activation": "softmax", "num_sources": 3},
        {"kernel_size": 5, "strides": 5, "normalization": "batch", "skip_dim": None},
        {"normalization": "cumulative", "causal": True, "num_sources": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("samples", [1, 50])
def test_equals_the_paper(arguments, samples):
    model = small(**arguments)
    mixture = normal(2, samples)
    sources = run(model, mixture)
    np.testing.assert_allclose(sources, conv_tasnet(model, mixture), atol=1e-3)


@pytest.mark.parametrize("normalization", ["cumulative", "batch"])
def test_a_causal_model_sees_no_later_input_than_the_encoders_window(normalization):
    model = small(causal=True, normalization=normalization)
    x = normal(1, 200)
    changed = x.copy()
    changed[:, 100:] += normal(1, 100)
    before, after = (run(model, y) for y in (x, changed))
    unreached = 100 - (model.kernel_size - 1)
    np.testing.assert_array_equal(before[..., :unreached], after[..., :unreached])
    assert np.any(before[..., 100:] != after[..., 100:])


def test_a_model_that_is_not_causal_sees_the_future():
    model = small(normalization="batch")
    x = normal(1, 200)
    changed = x.copy()
    changed[:, 100:] += 1
    before, after = (run(model, y) for y in (x, changed))
    assert np.any(before[..., :80] != after[..., :80])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({name: 0}, name) for name in SMALL]
    + [
        ({"num_sources": 0}, "num_sources"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"strides": 0}, "strides"),
        ({"strides": 17}, "strides"),
        ({"conv_kernel_size": 0}, "conv_kernel_size"),
        ({"conv_kernel_size": 4}, "conv_kernel_size"),
        ({"normalization": "layer"}, "normalization"),
        ({"mask_activation": "tanh"}, "mask_activation"),
        ({"causal": True}, 'causal=True cannot use normalization="global"'),
    ],
    ids=str,
)
def test_arguments_out_of_range(arguments, named):
    with pytest.raises(ValueError, match=named):
        ConvTasNet(**(SMALL | arguments))


def test_trains_saves_and_loads(tmp_path):
    """As in the README, with a batch of another length last; then a file of the trained model."""
    model = small()
    model.compile(
        keras.optimizers.Adam(1e-2, clipnorm=5.0),
        PermutationInvariant(SISNR()),
        metrics=[SISNRImprovement()],
    )
    before = model.get_weights()
    sources = normal(4, 2, 64)
    history = model.fit(sources.sum(1), sources, batch_size=2, epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]
    assert history["si_snr_improvement"][1] > history["si_snr_improvement"][0]
    assert all(np.any(w != v) for w, v in zip(model.get_weights(), before, strict=True))
    model.train_on_batch(sources[..., :40].sum(1), sources[..., :40])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    assert isinstance(again.loss, PermutationInvariant)
    mixture = normal(2, 50)
    np.testing.assert_allclose(run(again, mixture), run(model, mixture), atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_gives_float32_sources(policy):
    exact, model = small(), small(dtype=policy)
    model.set_weights(exact.get_weights())
    mixture = normal(2, 50)
    sources, expected = run(model, mixture), run(exact, mixture)
    assert sources.dtype == np.float32
    np.testing.assert_allclose(sources, expected, atol=0.05 * np.abs(expected).max())


SAVE = """
import sys
import numpy as np
from numerics import run
from numpy_conv_tasnet import randomize
from keras_sep.models import ConvTasNet

model = ConvTasNet(**eval(sys.argv[1]))
model.build((None, None))
randomize(model).save(sys.argv[2] + "/model.keras")
mixture = np.random.default_rng(0).normal(size=(2, 50)).astype("float32")
np.save(sys.argv[2] + "/sources.npy", run(model, mixture))
"""


def test_loads_what_another_backend_saved(tmp_path):
    other = {"tensorflow": "jax", "jax": "torch", "torch": "tensorflow"}[keras.backend.backend()]
    arguments = SMALL | {"normalization": "batch", "mask_activation": "softmax"}
    tests = os.path.dirname(os.path.dirname(__file__))
    subprocess.run(
        [sys.executable, "-c", SAVE, repr(arguments), str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": other, "PYTHONPATH": tests},
        check=True,
    )
    model = keras.saving.load_model(tmp_path / "model.keras")
    sources = run(model, normal(2, 50))
    np.testing.assert_allclose(sources, np.load(tmp_path / "sources.npy"), atol=1e-4)
