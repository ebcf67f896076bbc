"""Global and cumulative normalization against their definitions; the stream against the layer."""

import numpy as np
import pytest
from keras import ops
from numerics import compiled, layer_gradients, run

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


def test_statistics_of_a_long_input():
    """Sums of millions of squares: one by one, float32 would lose some tenths of a percent."""
    x = np.random.default_rng(0).normal(0.5, 1.0, (1, 4000, 512)).astype("float32")
    layer = GlobalLayerNormalization()
    layer.build(x.shape)
    exact = x.astype("float64")
    for function in (layer.statistics, compiled(layer.statistics)):
        statistics = np.ravel(run(function, x))
        np.testing.assert_allclose(statistics, [exact.mean(), 1 / exact.std()], rtol=1e-5)


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


def stream(layer, state, pieces):
    """The last outputs, and the state after the pieces, by the backend's compiler."""
    step = compiled(layer.step)
    for piece in pieces:
        y, state = step(ops.convert_to_tensor(piece), state)
    count, moments, rest = (ops.convert_to_numpy(v) for v in state)
    mean, square = (moments.astype("float64") + rest)[0, 0]
    return ops.convert_to_numpy(y), count.item(), mean, square


def test_a_long_stream_does_not_drift():
    """Half an hour at 1,000 frames a second, in pieces, against float64."""
    frames = 1_800_000
    x = np.random.default_rng(2).normal(2.0, 1.0, (1, frames, 1)).astype("float32")
    layer = CumulativeLayerNormalization()
    layer.build(x.shape)
    y, count, mean, square = stream(layer, layer.initial_state(1), np.split(x, 100, axis=1))
    exact = x.astype("float64")
    assert count == frames
    assert mean == pytest.approx(exact.mean(), rel=1e-6)
    assert square == pytest.approx(np.square(exact).mean(), rel=1e-6)
    last = (exact[:, -1] - exact.mean()) / exact.std()
    np.testing.assert_allclose(y[:, -1], last, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 20])
def test_statistics_move_on_after_a_day(frames):
    """With 86,400,000 frames behind it a step moves them by less than float32 resolves."""
    steps, heard = 2000, 86_400_000
    layer = CumulativeLayerNormalization()
    layer.build((1, frames, 4))
    moments = ops.convert_to_tensor(np.array([[[2.0, 5.0]]], "float32"))
    state = [ops.full((1, 1, 1), heard, "int32"), moments, ops.zeros_like(moments)]
    piece = np.full((1, frames, 4), 7.0, "float32")
    _, count, mean, square = stream(layer, state, [piece] * steps)
    assert count == heard + steps * frames
    share = steps * frames / count
    assert mean - 2.0 == pytest.approx(5.0 * share, rel=1e-3)
    assert square - 5.0 == pytest.approx(44.0 * share, rel=1e-3)
