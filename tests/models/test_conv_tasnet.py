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


# N, L, B, H, Sc, X, R, then receptive field in seconds and millions of parameters as printed in the
# paper's table II. The fourth row's 2.4 is not what its sizes add up to (2.24).
TABLE_II = {
    "n128_l40_b128_h256_sc128_x7_r2": (128, 40, 128, 256, 128, 7, 2, 1.28, 1.5),
    "n256_l40_b128_h256_sc128_x7_r2": (256, 40, 128, 256, 128, 7, 2, 1.28, 1.5),
    "n512_l40_b128_h256_sc128_x7_r2": (512, 40, 128, 256, 128, 7, 2, 1.28, 1.7),
    "n512_l40_b128_h256_sc256_x7_r2": (512, 40, 128, 256, 256, 7, 2, 1.28, 2.24),
    "n512_l40_b128_h512_sc128_x7_r2": (512, 40, 128, 512, 128, 7, 2, 1.28, 3.1),
    "n512_l40_b128_h512_sc512_x7_r2": (512, 40, 128, 512, 512, 7, 2, 1.28, 6.2),
    "n512_l40_b256_h256_sc256_x7_r2": (512, 40, 256, 256, 256, 7, 2, 1.28, 3.2),
    "n512_l40_b256_h512_sc256_x7_r2": (512, 40, 256, 512, 256, 7, 2, 1.28, 6.0),
    "n512_l40_b256_h512_sc512_x7_r2": (512, 40, 256, 512, 512, 7, 2, 1.28, 8.1),
    "n512_l40_b128_h512_sc128_x6_r4": (512, 40, 128, 512, 128, 6, 4, 1.27, 5.1),
    "n512_l40_b128_h512_sc128_x4_r6": (512, 40, 128, 512, 128, 4, 6, 0.46, 5.1),
    "n512_l40_b128_h512_sc128_x8_r3": (512, 40, 128, 512, 128, 8, 3, 3.83, 5.1),
    "n512_l32_b128_h512_sc128_x8_r3": (512, 32, 128, 512, 128, 8, 3, 3.06, 5.1),
    "n512_l16_b128_h512_sc128_x8_r3": (512, 16, 128, 512, 128, 8, 3, 1.53, 5.1),
    "paper_causal": (512, 16, 128, 512, 128, 8, 3, 1.53, 5.1),
}


def parameters(filters, kernel_size, bottleneck, hidden, skip, num_blocks, num_repeats):
    """Of figures 1B and 1C for two sources, counted layer by layer."""
    coders = 2 * filters * kernel_size
    entry = 2 * filters + (filters + 1) * bottleneck
    prelu_and_norm = 1 + 2 * hidden
    block = (bottleneck + 1) * hidden + prelu_and_norm + (3 + 1) * hidden + prelu_and_norm
    block += (hidden + 1) * (bottleneck + skip)
    masks = 1 + (skip + 1) * 2 * filters
    unused = (hidden + 1) * bottleneck  # The last block's residual output.
    return coders + entry + num_blocks * num_repeats * block - unused + masks


def reach(num_blocks, num_repeats):
    """Frames: each tap beside the middle one reaches a dilation further."""
    return 1 + num_repeats * sum(2 * 2**block for block in range(num_blocks))


def check_preset(preset, sizes, strides):
    """Exact parameters, receptive field in frames and samples, and output shape."""
    model = ConvTasNet.from_preset(preset)
    model.build((None, None))
    assert model.count_params() == parameters(*sizes)
    frames = reach(*sizes[-2:])
    assert model.separator.receptive_field == frames
    assert model.receptive_field == (frames - 1) * strides + sizes[1]
    assert model.compute_output_shape((3, 1001)) == (3, 2, 1001)
    return model


@pytest.mark.parametrize(("preset", "row"), TABLE_II.items())
def test_presets_are_the_papers_table(preset, row):
    *sizes, seconds, millions = row
    model = check_preset(preset, sizes, strides=sizes[1] // 2)
    assert model.receptive_field / 8000 == pytest.approx(seconds, abs=0.011)
    # The paper counts the last block's residual output, which nothing uses.
    unused = (model.hidden_dim + 1) * model.bottleneck_dim
    assert (model.count_params() + unused) / 1e6 == pytest.approx(millions, abs=0.052)
    assert (model.causal, model.normalization) == (
        (True, "cumulative") if preset == "paper_causal" else (False, "global")
    )


def test_the_preset_of_wide_kernels():
    model = check_preset("wide_kernel", (512, 256, 128, 512, 128, 8, 4), strides=16)
    assert model.mask_activation == "sigmoid"
    # 2,041 frames and 4.1 s at 8 kHz, by hand.
    assert (model.separator.receptive_field, model.receptive_field) == (2041, 32_896)


def test_presets_take_other_arguments():
    preset, default = ConvTasNet.from_preset("paper_best", name="a"), ConvTasNet(name="a")
    assert preset.get_config() == default.get_config()
    assert ConvTasNet.from_preset("paper_best", kernel_size=20, num_sources=3).strides == 10
    wide = ConvTasNet.from_preset("wide_kernel", filters=8, bottleneck_dim=4, hidden_dim=4)
    assert (wide.kernel_size, wide.strides, wide.num_repeats) == (256, 16, 4)
    assert run(wide, normal(1, 300)).shape == (1, 2, 300)
    with pytest.raises(ValueError, match=r"preset must be one of n128_.* got 'best'"):
        ConvTasNet.from_preset("best")


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
        {"normalization": "layer", "encoder_activation": "relu"},
        {"kernel_size": 10, "strides": 4, "padding": "valid", "encoder_activation": "relu"},
    ],
    ids=str,
)
@pytest.mark.parametrize("samples", [1, 50])
def test_equals_the_paper(arguments, samples):
    model = small(**arguments)
    samples = max(samples, model.kernel_size if model.padding == "valid" else 1)
    mixture = normal(2, samples)
    sources = run(model, mixture)
    np.testing.assert_allclose(sources, conv_tasnet(model, mixture), atol=1e-3)


@pytest.mark.parametrize("normalization", ["cumulative", "layer", "batch"])
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
        ({"normalization": "instance"}, "normalization"),
        ({"padding": "causal"}, "padding"),
        ({"mask_activation": "elu"}, "mask_activation"),
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


def test_training_moves_the_statistics_of_batch_normalization():
    model = small(normalization="batch")
    model.compile("sgd", "mse")
    sources = normal(2, 2, 64)
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in model.non_trainable_variables]
    model.train_on_batch(sources.sum(1), sources)
    assert len(before) == 2 * (1 + 2 * len(model.separator.blocks))
    for variable, old in zip(model.non_trainable_variables, before, strict=True):
        assert np.any(keras.ops.convert_to_numpy(variable) != old), variable.path


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
