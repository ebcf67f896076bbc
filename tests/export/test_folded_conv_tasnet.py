"""The folded function against the model it was made from."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_sep.export import fold_for_inference
from keras_sep.export.folded_conv_tasnet import can_fold
from keras_sep.export.function_of_arrays import array_function
from keras_sep.layers.backend_programs import on_cpu
from keras_sep.models import ConvTasNet

BACKEND = keras.backend.backend()


def varied_model(**arguments):
    """Weights as after training: no norm is the identity, every slope is its own."""
    keras.utils.set_random_seed(0)
    small = {"filters": 16, "bottleneck_dim": 8, "hidden_dim": 12, "skip_dim": 8}
    model = ConvTasNet(**{**small, "num_blocks": 4, "num_repeats": 2, **arguments})
    model.build((None, None))
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.2 * rng.normal(size=variable.shape).astype("float32"))
    return model


def assert_same(model, lengths, jit_compile=False):
    folded = array_function(model, jit_compile)
    assert can_fold(model) == (BACKEND != "jax")  # XLA does it by itself
    rng = np.random.default_rng(1)
    # Examples of different level, as each has statistics of its own.
    for samples in lengths:
        # Twice, as a GPU runs the first call with a shape and records the second.
        mixtures = (rng.normal(size=(2, 3, samples)) * [[1e-3], [1], [50]]).astype("float32")
        found = [folded(mixture) for mixture in mixtures]
        for mixture, sources in zip(mixtures, found, strict=True):
            expected = ops.convert_to_numpy(model(mixture))
            error = np.abs(sources - expected).max((1, 2))
            assert (error <= 1e-4 * np.abs(expected).max((1, 2))).all(), samples


def test_any_length():
    # Shorter than a kernel; fewer frames than the widest dilation; no whole number of rows. JAX
    # compiles each, and there nothing is folded.
    lengths = (1, 15, 17, 64, 333, 1000)
    assert_same(varied_model(), lengths[:1] if BACKEND == "jax" else lengths)


@pytest.mark.parametrize(
    ("scale", "bias"), [(1e25, 0), (0, 999.7)], ids=["infinite variance", "constant features"]
)
def test_features_without_statistics(scale, bias):
    """No sources of use, but no exception: the squares overflow, or round below the mean's."""
    model = varied_model()
    for block in model.separator.blocks:
        block.expand.kernel.assign(scale * block.expand.kernel)
        block.expand.bias.assign(np.full(block.expand.bias.shape, bias, "float32"))
    folded = array_function(model)
    for samples in range(100, 1000, 50):
        mixture = np.random.default_rng(0).normal(size=(1, samples)).astype("float32")
        assert folded(mixture).shape == (1, 2, samples)


@pytest.mark.parametrize(
    "arguments",
    [
        {"skip_dim": None},
        {"bottleneck_dim": 7, "skip_dim": 13, "num_blocks": 2},
        {"bottleneck_dim": 19, "skip_dim": 5, "conv_kernel_size": 1, "num_blocks": 2},
        {"num_blocks": 1, "num_repeats": 1},
        {"conv_kernel_size": 5, "num_sources": 3, "mask_activation": "softmax"},
        {"kernel_size": 20, "strides": 5, "encoder_activation": "relu", "padding": "valid"},
    ],
)
def test_configurations(arguments):
    assert_same(varied_model(**arguments), (500,))


@pytest.mark.skipif(BACKEND != "torch", reason="jit_compile is of PyTorch")
@pytest.mark.parametrize(
    ("arguments", "lengths"),
    [
        # The second length is compiled with the number of frames as an argument.
        ({}, (64, 500, 333, 1)),
        ({"bottleneck_dim": 7, "skip_dim": 13, "conv_kernel_size": 5, "num_blocks": 2}, (15, 500)),
        ({"skip_dim": None, "conv_kernel_size": 1, "num_blocks": 2}, (500,)),
        ({"num_sources": 3, "mask_activation": "softmax", "num_blocks": 1}, (500, 333)),
        ({"mask_activation": "linear", "num_blocks": 1}, (500,)),
    ],
)
def test_compiled(arguments, lengths):
    assert_same(varied_model(**arguments), lengths, jit_compile=True)


@pytest.mark.parametrize("slope", [-0.3, 1.7])
@pytest.mark.parametrize("jit_compile", [False, True] if BACKEND == "torch" else [False])
def test_slopes_below_zero_and_above_one(jit_compile, slope):
    model = varied_model(num_blocks=2, num_repeats=1)
    for block in model.separator.blocks:
        for prelu in (block.prelu, block.separable_conv.prelu):
            prelu.alpha.assign([[slope]])
    assert_same(model, (500,), jit_compile)


@pytest.mark.skipif(
    BACKEND != "torch" or not on_cpu(),
    reason="jit_compile is of PyTorch, and needs that compiler on a CPU",
)
def test_without_a_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match="there is no no-such-compiler: install g"):
        fold_for_inference(varied_model(), jit_compile=True)


def test_a_channel_that_a_norm_switches_off():
    model = varied_model()
    for block in model.separator.blocks:
        block.norm.gamma.assign(block.norm.gamma * np.arange(12).clip(0, 1).astype("float32"))
    assert_same(model, (500,))


@pytest.mark.parametrize("jit_compile", [False, True] if BACKEND == "torch" else [False])
def test_has_the_weights_of_its_time(jit_compile):
    model = varied_model()
    folded = array_function(model, jit_compile)
    mixture = np.random.default_rng(1).normal(size=(1, 300)).astype("float32")
    before = folded(mixture)
    for variable in model.trainable_variables:
        variable.assign(2 * variable)
    is_same = np.array_equal(folded(mixture), before)
    assert is_same == (BACKEND != "jax")  # There they are arguments of each call.


@pytest.mark.parametrize("arguments", [{}, {"skip_dim": None}, {"mask_activation": "softmax"}])
@pytest.mark.parametrize("jit_compile", [False, True] if BACKEND == "torch" else [False])
def test_bfloat16(jit_compile, arguments):
    """Within 2 % of float32, by numbers of 8 bits; Keras's own pass comes to 37 to 42 dB."""
    exact = varied_model(**arguments)
    rough = varied_model(dtype="mixed_bfloat16", **arguments)
    folded = array_function(rough, jit_compile)
    assert can_fold(rough) == (BACKEND != "jax")
    rng = np.random.default_rng(1)
    for samples in (64, 1000):
        mixture = (rng.normal(size=(3, samples)) * [[1e-3], [1], [50]]).astype("float32")
        expected = ops.convert_to_numpy(exact(mixture))
        sources = folded(mixture)
        assert sources.dtype == "float32"
        error = np.square(sources - expected).sum((1, 2)) / np.square(expected).sum((1, 2))
        assert (-10 * np.log10(error) > 34).all(), samples


def test_other_models_are_refused():
    if BACKEND == "jax":
        with pytest.raises(ValueError, match=r"on TensorFlow or PyTorch, .* on jax"):
            fold_for_inference(varied_model())
    if BACKEND == "tensorflow":
        with pytest.raises(ValueError, match="jit_compile is of PyTorch"):
            fold_for_inference(varied_model(), jit_compile=True)
    causal = varied_model(causal=True, normalization="cumulative")
    with pytest.raises(ValueError, match="normalization 'cumulative'"):
        fold_for_inference(causal)
    if BACKEND != "jax":  # which compiles any model
        with pytest.raises(ValueError, match="normalization 'cumulative'"):
            array_function(causal, jit_compile=True)
    for dtype in ("mixed_float16", "bfloat16"):  # The latter's weights are rounded.
        model = ConvTasNet(filters=8, bottleneck_dim=4, hidden_dim=4, num_blocks=1, dtype=dtype)
        model.build((None, None))
        with pytest.raises(ValueError, match=f"dtype {dtype} and"):
            fold_for_inference(model)


def test_what_is_not_folded_goes_through_keras():
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert array_function(other) == other.predict_on_batch
