"""Global and cumulative normalization against their definitions; the stream against the layer."""

import numpy as np
import pytest
from keras import ops
from numerics import layer_gradients, run

from keras_sep.layers import CumulativeLayerNormalization, GlobalLayerNormalization


def globally(x, epsilon):
    return (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + epsilon)


def cumulatively(x, epsilon):
    return np.concatenate(
        [globally(x[:, : k + 1], epsilon)[:, -1:] for k in range(x.shape[1])], axis=1
    )


DEFINITIONS = {GlobalLayerNormalization: globally, CumulativeLayerNormalization: cumulatively}


@pytest.mark.parametrize("epsilon", [1e-8, 0.1])
@pytest.mark.parametrize("layer_class", DEFINITIONS)
def test_definition(layer_class, epsilon):
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, (2, 50, 8)).astype("float32")
    gamma, beta = rng.normal(size=(2, 8))
    layer = layer_class(epsilon)
    layer.build(x.shape)
    layer.set_weights([gamma, beta])
    expected = gamma * DEFINITIONS[layer_class](x.astype("float64"), epsilon) + beta
    np.testing.assert_allclose(run(layer, x), expected, atol=1e-3)


@pytest.mark.parametrize("layer_class", DEFINITIONS)
def test_silence_has_finite_values_and_gradients(layer_class):
    layer = layer_class()
    x = np.zeros((1, 5, 3), "float32")
    np.testing.assert_array_equal(run(layer, x), 0)
    assert all(np.all(np.isfinite(g)) for g in layer_gradients(layer, x, np.ones_like(x)))


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("scale", [1e-4, 1e4])
@pytest.mark.parametrize("layer_class", DEFINITIONS)
def test_statistics_in_float32(layer_class, scale, dtype):
    """Squares of such inputs are out of float16's range, above or below."""
    half = dtype.removeprefix("mixed_")
    x = ops.cast(scale * np.random.default_rng(0).normal(size=(2, 200, 8)), half)
    y = ops.convert_to_numpy(ops.cast(layer_class(1e-12, dtype=dtype)(x), "float32"))
    x = ops.convert_to_numpy(ops.cast(x, "float32")).astype("float64")
    np.testing.assert_allclose(y, DEFINITIONS[layer_class](x, 1e-12), atol=0.02)


@pytest.mark.parametrize("layer_class", DEFINITIONS)
def test_only_the_global_one_sees_the_future(layer_class):
    x = np.random.default_rng(0).normal(size=(1, 20, 4)).astype("float32")
    changed = x.copy()
    changed[:, 10:] += 5
    layer = layer_class()
    before, after = (run(layer, y) for y in (x, changed))
    same = np.allclose(before[:, :10], after[:, :10], atol=1e-6)
    assert same == (layer_class is CumulativeLayerNormalization)


@pytest.mark.parametrize("cuts", [[1, 2, 3], [7], [25, 26], range(1, 50)])
def test_stream_equals_offline(cuts):
    x = np.random.default_rng(1).normal(size=(2, 50, 8)).astype("float32")
    layer = CumulativeLayerNormalization()
    offline = run(layer, x)
    state, pieces = layer.initial_state(2), []
    for piece in np.split(x, list(cuts), axis=1):
        y, state = layer.step(piece, state)
        pieces.append(ops.convert_to_numpy(y))
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), offline, atol=1e-4)


def test_a_long_stream_does_not_drift():
    """A quarter of a million frames, in pieces, against float64."""
    x = np.random.default_rng(2).normal(2.0, 1.0, (1, 2**18, 1)).astype("float32")
    layer = CumulativeLayerNormalization()
    layer.build(x.shape)
    state = layer.initial_state(1)
    for piece in np.split(x, 32, axis=1):
        y, state = layer.step(piece, state)
    count, mean, mean_square = (ops.convert_to_numpy(value).item() for value in state)
    exact = x.astype("float64")
    assert count == 2**18
    assert mean == pytest.approx(exact.mean(), rel=1e-5)
    assert mean_square == pytest.approx(np.square(exact).mean(), rel=1e-5)
    last = (exact[:, -1] - exact.mean()) / exact.std()
    np.testing.assert_allclose(ops.convert_to_numpy(y)[:, -1], last, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 100])
def test_a_day_of_frames_behind_it_changes_nothing(frames):
    """At 1,000 frames a second float32 cannot count a day exactly; the statistics must hold."""
    x = np.random.default_rng(3).normal(2.0, 1.0, (1, 1000, 8)).astype("float32")
    layer = CumulativeLayerNormalization()
    layer.build(x.shape)
    state = [ops.full((1, 1, 1), value) for value in (86_400_000.0, 2.0, 5.0)]
    for piece in np.split(x, 1000 // frames, axis=1):
        y, state = layer.step(piece, state)
    _, mean, mean_square = (ops.convert_to_numpy(value).item() for value in state)
    assert (mean, mean_square) == pytest.approx((2.0, 5.0), rel=1e-4)
    np.testing.assert_allclose(ops.convert_to_numpy(y), piece - 2.0, atol=1e-2)
